// Piano rolls are heard: a button a roll, and one more for rolls that belong together.
"use strict";
(() => {
  if (!window.AudioContext) return;
  const LOUD = 0.25, ATTACK = 0.01, RELEASE = 0.03, AHEAD = 0.1; // seconds but the first
  let context = null, stop = () => {};

  // What will be heard: each note's start and length in seconds, its frequency in hertz, and its MIDI number.
  const scheduled = (rolls, step) => {
    let before = 0;
    return rolls.flatMap((roll) => {
      const first = before;
      before += Number(roll.dataset.steps);
      return JSON.parse(roll.dataset.notes).map(([start, steps, pitch]) => (
        { start: (first + start) * step, duration: steps * step, frequency: 440 * 2 ** ((pitch - 69) / 12), pitch }
      ));
    });
  };

  const sound = (note, from) => {
    const tone = context.createOscillator(), volume = context.createGain(), start = from + note.start;
    const end = start + note.duration, held = Math.max(end - RELEASE, start + ATTACK);
    tone.type = "triangle";
    tone.frequency.value = note.frequency;
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(LOUD, start + ATTACK);
    volume.gain.setValueAtTime(LOUD, held);
    volume.gain.linearRampToValueAtTime(0, Math.max(end, held + ATTACK));
    tone.connect(volume).connect(context.destination);
    tone.start(start);
    tone.stop(Math.max(end, held + ATTACK));
    return tone;
  };

  // A line in each roll goes along with what is heard; readers who want no motion see none.
  const follow = (rolls, step, from, rows) => {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return () => {};
    const lines = rolls.map((roll) => {
      const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      line.setAttribute("class", "now");
      roll.querySelector("g").append(line);
      return line;
    });
    let frame = 0;
    const move = () => {
      let at = (context.currentTime - from) / step;
      rolls.forEach((roll, place) => {
        const heard = at >= 0 && at < Number(roll.dataset.steps);
        lines[place].setAttribute("d", heard ? `M${at} 0v${rows}` : "");
        at -= Number(roll.dataset.steps);
      });
      frame = requestAnimationFrame(move);
    };
    move();
    return () => { cancelAnimationFrame(frame); lines.forEach((line) => line.remove()); };
  };

  const makeButton = (figure, rolls, what, shown = "") => {
    const step = Number(figure.dataset.stepSeconds), notes = scheduled(rolls, step);
    const button = document.createElement("button");
    const name = (verb) => {
      button.textContent = verb + shown;
      button.setAttribute("aria-label", `${verb} ${what}`);
    };
    button.type = "button";
    button.className = "play";
    button.disabled = notes.length === 0;
    button.addEventListener("click", () => {
      const playing = button.dataset.scheduled;
      stop();
      if (playing) return;
      context ??= new AudioContext();
      context.resume();
      const from = context.currentTime + AHEAD, tones = notes.map((note) => sound(note, from));
      const leave = follow(rolls, step, from, figure.dataset.rows);
      stop = () => {
        stop = () => {};
        tones.forEach((tone) => { tone.onended = null; tone.stop(); tone.disconnect(); });
        leave();
        delete button.dataset.scheduled;
        name("Play");
      };
      tones.at(-1).onended = stop;
      button.dataset.scheduled = JSON.stringify(notes);
      name("Stop");
    });
    name("Play");
    return button;
  };

  for (const figure of document.querySelectorAll(".rolls")) {
    const rolls = [...figure.querySelectorAll(".roll")];
    for (const roll of rolls) {
      roll.querySelector(".head").prepend(makeButton(figure, [roll], roll.getAttribute("aria-label")));
    }
    if ("path" in figure.dataset) {
      figure.querySelector("figcaption").prepend(makeButton(figure, rolls, "all, one after another", " all"), " ");
    }
  }
})();
