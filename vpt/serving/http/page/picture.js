/* One picture: what it is, where the model looks, and a card with the answer of each chosen task. */

import { AttentionMap } from "./attention.js";
import { counted, element, percent } from "./dom.js";

let number = 0;

export class Picture {
  #answers = new Map(); // by task
  #looked = null; // the task whose attention is shown
  #group = `attention-${++number}`;
  #attention = new AttentionMap();
  #cards = element("div", { className: "cards" });
  #state = element("p");
  #again;
  #took = "";
  failed = false; // then nothing is asked until someone wants it

  /** retry, remove: called with this picture by its buttons. */
  constructor(file, { retry, remove }) {
    this.file = file;
    this.url = URL.createObjectURL(file);
    this.#again = element("button", { type: "button", onclick: () => retry(this) }, "Try again");
    const away = element("button", { type: "button", className: "quiet", onclick: () => remove(this) }, "Remove");
    away.ariaLabel = `Remove ${file.name}`;
    this.element = element("article", { className: "panel", ariaLabel: file.name },
      element("div", { className: "line" }, element("h2", {}, file.name), away),
      element("figure", {}, this.#stage(), this.#attention.caption),
      element("div", {}, element("div", { className: "line" }, this.#state, this.#again), this.#cards));
  }

  /** Those of the tasks that have not answered yet. */
  missing(tasks) {
    return tasks.filter((name) => !this.#answers.has(name));
  }

  /** Drops the answers that do not pass. */
  keep(passes) {
    for (const [name, answer] of this.#answers) if (!passes(answer)) this.#answers.delete(name);
  }

  /** Takes what came after so many milliseconds. */
  take(answers, milliseconds) {
    for (const answer of answers) this.#answers.set(answer.task, answer);
    this.#took = `${counted(answers.length, "answer")} in ${Math.round(milliseconds)} ms`;
  }

  /** There is no answer, and this is why; again: whether there could be one another time. */
  fail(why, again) {
    this.failed = true;
    this.#say(why);
    this.#again.hidden = !again;
  }

  /** Shows the answers of these tasks, or what they wait for. */
  show(tasks) {
    const shown = tasks.filter((name) => this.#answers.has(name)).map((name) => this.#answers.get(name));
    if (!shown.some(({ task }) => task === this.#looked)) this.#looked = shown[0]?.task;
    this.#cards.replaceChildren(...shown.map((answer) => this.#card(answer)));
    if (shown.length) this.#look(this.#looked);
    else this.#attention.hide();
    if (this.failed) return;
    if (!tasks.length) this.#say("Choose a task.");
    else this.#say(shown.length < tasks.length ? "Waiting for the answer …" : this.#took);
  }

  #say(text) {
    this.#again.hidden = true;
    this.#state.className = this.failed ? "bad" : "soft";
    this.#state.textContent = text;
  }

  #look(task) {
    this.#looked = task;
    this.#attention.show(task, this.#answers.get(task).attention);
  }

  #card({ task, version, classes, attention }) {
    const radio = element("input", { type: "radio", name: this.#group, checked: task === this.#looked });
    radio.addEventListener("change", () => this.#look(task));
    const look = element("label", { className: "soft look", hidden: attention === null }, radio, "attention");
    const which = element("span", { className: "soft" }, version === null ? "" : `version ${version}`);
    return element("section", { className: "card", ariaLabel: task }, element("h3", {}, task),
      element("div", { className: "line" }, which, look), element("ol", {}, ...classes.map(bar)));
  }

  /** The picture under its map; the map is stretched to it, as the picture was to the model's input. */
  #stage() {
    const image = element("img", { src: this.url, alt: "" });
    const stage = element("div", { className: "stage" }, image, this.#attention.map);
    image.addEventListener("load", () => {
      stage.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
      image.classList.toggle("small", image.naturalWidth < 128);
    });
    image.addEventListener("error", () => {
      stage.classList.add("blind");
      image.replaceWith(element("p", { className: "soft" }, "no preview"));
    });
    return stage;
  }
}

function bar({ label, probability }) {
  const filled = element("span");
  filled.style.width = percent(probability);
  return element("li", {}, element("span", { className: "label" }, label),
    element("span", { className: "percent" }, percent(probability)),
    element("span", { className: "bar", ariaHidden: "true" }, filled));
}
