"""``python -m ppl_models``, as ``torchrun -m ppl_models`` starts it in several processes."""

from ppl_models.cli import main

main()
