/* The list of tasks: what each is, which are chosen, and that this tab remembers it. */

import { ask } from "./api.js";
import { byId, counted, element } from "./dom.js";

const CHOSEN = "vpt.chosen";
const MANY = 8;

export class TaskList {
  #rows = new Map(); // by name: the task as the server lists it, its line and its box
  #remembered = new Set(JSON.parse(sessionStorage.getItem(CHOSEN) ?? "[]"));
  #changed;
  atOnce = 1; // tasks that one request may ask for

  /** changed: called when someone chose otherwise. */
  constructor(changed) {
    this.#changed = changed;
    byId("filter").addEventListener("input", () => this.#show());
    byId("none").addEventListener("click", () => this.#choose(this.chosen, false));
  }

  /** Names of the chosen tasks that are served. */
  get chosen() {
    return [...this.#rows.keys()].filter((name) => this.#remembered.has(name));
  }

  /** Whether an answer is of the version that is listed. */
  lists({ task, version, digest }) {
    const known = this.#rows.get(task)?.task;
    return known?.version === version && known.digest === digest;
  }

  /** Asks the server again. Throws a `Refusal`; the list then stays as it is. */
  async load() {
    const before = this.chosen;
    const { tasks, problems, max_tasks } = await ask("v1/tasks");
    this.atOnce = max_tasks;
    this.#rows = new Map(tasks.map((task) => [task.name, this.#row(task)]));
    byId("tasks").replaceChildren(...[...this.#rows.values()].map(({ line }) => line));
    if (tasks.length === 1) this.#remembered.add(tasks[0].name);
    this.#show();
    showProblems(problems);
    const gone = before.filter((name) => !this.#rows.has(name));
    if (gone.length) say(`No longer served: ${gone.join(", ")}`);
    else say(tasks.length ? "" : "No task is served.");
  }

  #row(task) {
    const box = element("input", { type: "checkbox", value: task.name });
    box.addEventListener("change", () => this.#choose([task.name], box.checked));
    const facts = [task.method, counted(task.num_classes, "class", "classes"),
      task.version === null ? null : `version ${task.version}`];
    const name = element("span", { className: "name" }, task.name);
    const what = element("span", { className: "soft" }, facts.filter(Boolean).join(" · "));
    const line = element("li", {}, element("label", {}, box, name, what), about(task.name));
    return { task, line, box };
  }

  #choose(names, is) {
    for (const name of names) is ? this.#remembered.add(name) : this.#remembered.delete(name);
    sessionStorage.setItem(CHOSEN, JSON.stringify([...this.#remembered]));
    this.#show();
    this.#changed();
  }

  #show() {
    const many = this.#rows.size > MANY;
    const wanted = many ? byId("filter").value.trim().toLowerCase() : "";
    for (const [name, { task, line, box }] of this.#rows) {
      box.checked = this.#remembered.has(name);
      line.hidden = !`${name} ${task.method ?? ""}`.toLowerCase().includes(wanted);
    }
    byId("filter").hidden = !many;
    byId("counted").hidden = !many;
    byId("count").textContent = `${this.chosen.length} of ${this.#rows.size} chosen`;
  }
}

/** A line under the list. */
export function say(text) {
  byId("notice").textContent = text;
}

/** What only its own address tells of a task, asked for when it is unfolded. */
function about(name) {
  const summary = element("summary", { ariaLabel: `About ${name}` }, "about");
  const facts = element("dl");
  const folded = element("details", {}, summary, facts);
  folded.addEventListener("toggle", async () => {
    if (!folded.open) return;
    try {
      const task = await ask(`v1/tasks/${encodeURIComponent(name)}`);
      const metrics = Object.entries(task.metrics).map(([key, value]) => [key, String(Number(value.toPrecision(4)))]);
      const rest = { classes: task.classes.join(", "), use: task.intended_use, licence: task.licence };
      facts.replaceChildren(...terms([...metrics, ...Object.entries(rest)]));
    } catch (refusal) {
      facts.replaceChildren(element("dd", { className: "bad" }, refusal.message));
    }
  });
  return folded;
}

function showProblems(problems) {
  const folded = byId("problems");
  folded.hidden = problems.length === 0;
  folded.firstElementChild.textContent = `${counted(problems.length, "task")} cannot be served`;
  folded.lastElementChild.replaceChildren(...terms(problems.map(({ name, message }) => [name, message])));
}

const terms = (pairs) =>
  pairs.filter(([, text]) => text).flatMap(([term, text]) => [element("dt", {}, term), element("dd", {}, text)]);
