// What is asked beside the card: a label by its name, shares of classes, a note. Each gives a promise of the answer.

import { send } from "./api.js";

const FEW = 12; // labels that are seen at a glance

const by = (id) => document.getElementById(id);

export function asked(dialog, focus) {
  const before = document.activeElement;
  dialog.returnValue = "cancel";
  dialog.showModal();
  focus?.focus();
  return new Promise((answer) => {
    dialog.addEventListener(
      "close",
      () => {
        if (before?.isConnected) before.focus();
        answer(dialog.returnValue === "give");
      },
      { once: true },
    );
  });
}

export const isOpen = () => document.querySelector("dialog[open]") !== null;

// The label that a reviewer gives: a class number, a list of them, or values; undefined where they give none.
export async function askLabel(kind, classes, now, targets) {
  by("one-of").hidden = by("options").hidden = !["class", "pair"].includes(kind);
  by("several").hidden = kind !== "multilabel";
  by("filter-of").hidden = kind !== "multilabel" || classes.length <= FEW;
  by("numbers-of").hidden = kind !== "value";
  if (kind === "value") return askValues([now ?? []].flat(), targets);
  if (kind === "multilabel") return askSeveral(classes, now ?? []);
  return askClass(classes);
}

async function askValues(now, targets) {
  const lines = Array.from({ length: targets }, (_, target) => {
    const line = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "number", step: "any", required: true, value: now[target] ?? "" });
    line.append(targets > 1 ? `Target ${target}` : "Value", input);
    return line;
  });
  by("numbers-of").replaceChildren(by("numbers-of").querySelector("legend"), ...lines);
  const inputs = [...by("numbers-of").querySelectorAll("input")];
  const given = await asked(by("labels"), inputs[0]);
  by("numbers-of").replaceChildren(by("numbers-of").querySelector("legend")); // required fields of no other dialog
  if (!given || inputs.some((input) => input.value === "")) return undefined;
  return targets > 1 ? inputs.map((input) => Number(input.value)) : Number(inputs[0].value);
}

// Of many labels those are shown whose names hold what was typed, and those that are ticked.
function filterOf(inputs, classes) {
  const filter = by("filter");
  const narrow = () => {
    const text = filter.value.trim().toLowerCase();
    for (const [label, box] of inputs.entries()) box.parentElement.hidden = !box.checked && !classes[label].toLowerCase().includes(text);
  };
  filter.value = "";
  filter.oninput = narrow;
  filter.onkeydown = (event) => {
    if (event.key !== "Enter" || !filter.value.trim()) return;
    event.preventDefault();
    const first = inputs.find((box, label) => !box.checked && classes[label].toLowerCase().includes(filter.value.trim().toLowerCase()));
    if (first) first.checked = true;
    filter.value = "";
    narrow();
  };
}

// A digit ticks its label, as it gives one on a card of classes.
async function askSeveral(classes, now) {
  const boxes = classes.map((name, label) => checkbox(name, label, now.includes(label)));
  const digits = Math.min(10, classes.length);
  boxes.slice(0, digits).forEach((line, digit) => line.append(" ", Object.assign(document.createElement("kbd"), { textContent: digit })));
  by("several").replaceChildren(by("several").querySelector("legend"), ...boxes);
  const inputs = [...by("several").querySelectorAll("input")];
  by("several").onkeydown = (event) => {
    if (!/^\d$/.test(event.key) || Number(event.key) >= digits) return;
    event.preventDefault();
    inputs[Number(event.key)].click();
    inputs[Number(event.key)].focus();
  };
  filterOf(inputs, classes);
  if (!(await asked(by("labels"), classes.length > FEW ? by("filter") : inputs[0]))) return undefined;
  return inputs.filter((box) => box.checked).map((box) => Number(box.value));
}

function checkbox(name, label, on) {
  const box = Object.assign(document.createElement("input"), { type: "checkbox", value: label, checked: on });
  const line = document.createElement("label");
  line.append(box, name);
  return line;
}

async function askClass(classes) {
  const typed = by("typed");
  let found = [];
  let chosen = 0;
  const mark = () => {
    [...by("options").children].forEach((one, place) => one.setAttribute("aria-selected", place === chosen));
    by("options").children[chosen]?.scrollIntoView({ block: "nearest" });
    if (found.length) typed.setAttribute("aria-activedescendant", `option-${chosen}`);
    else typed.removeAttribute("aria-activedescendant");
  };
  const filter = () => {
    const text = typed.value.trim().toLowerCase();
    const scored = classes
      .map((name, label) => ({ label, name, at: name.toLowerCase().indexOf(text) }))
      .filter((one) => one.at >= 0 || String(one.label) === text);
    scored.sort((a, b) => (String(b.label) === text) - (String(a.label) === text) || (a.at > 0) - (b.at > 0) || a.label - b.label);
    found = scored.slice(0, 50);
    chosen = 0;
    by("options").replaceChildren(
      ...found.map((one, place) => {
        const line = document.createElement("li");
        Object.assign(line, { id: `option-${place}`, role: "option", textContent: one.name });
        line.addEventListener("click", () => {
          chosen = place;
          by("labels").close("give");
        });
        return line;
      }),
    );
    mark();
  };
  const keys = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !found.length) return;
    event.preventDefault();
    chosen = (chosen + step + found.length) % found.length;
    mark();
  };
  typed.value = "";
  filter();
  typed.oninput = filter;
  typed.onkeydown = keys;
  return (await asked(by("labels"), typed)) && found.length ? found[chosen].label : undefined;
}

// Shares of classes, as K probabilities; null where nobody can tell; undefined where nothing is given.
export async function askShares(classes, shown) {
  const rows = shown.map((label) => {
    const line = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "number", min: 0, step: "any", name: label });
    line.append(input, classes[label]);
    return line;
  });
  by("share-rows").replaceChildren(...rows);
  if (!(await asked(by("shares"), by("share-rows").querySelector("input")))) return undefined;
  const shares = classes.map(() => 0);
  for (const input of by("share-rows").querySelectorAll("input")) shares[Number(input.name)] = Math.max(0, Number(input.value) || 0);
  const sum = shares.reduce((a, b) => a + b, 0);
  return sum > 0 ? shares.map((share) => share / sum) : null;
}

export async function askNote(text) {
  by("note-text").value = text;
  return (await asked(by("note"), by("note-text"))) ? by("note-text").value.trim() : text;
}

// imported() hears that decisions were added.
export function showFiles(imported) {
  by("imported").textContent = "";
  by("import").onclick = async () => {
    const file = by("import-file").files[0];
    if (!file) return (by("imported").textContent = "Choose a file first.");
    by("import").disabled = true;
    by("imported").textContent = `Importing ${file.name} …`;
    try {
      by("imported").textContent = (await send(`/import/${by("import-format").value}`, file)).words;
      imported();
    } catch (error) {
      by("imported").textContent = `Not imported: ${error.message}`;
    }
    by("import").disabled = false;
    return undefined;
  };
  return asked(by("files"), by("files").querySelector("a"));
}

export function showHelp(words, keys) {
  const lines = Object.entries(words).flatMap(([name, text]) => {
    const term = document.createElement("dt");
    term.append(...keys[name].flatMap((key) => [Object.assign(document.createElement("kbd"), { textContent: key }), " "]));
    return [term, Object.assign(document.createElement("dd"), { textContent: text })];
  });
  by("keys").replaceChildren(...lines);
  const term = Object.assign(document.createElement("dt"), { textContent: "0 to 9" });
  by("keys").append(term, Object.assign(document.createElement("dd"), { textContent: "the label that carries the digit" }));
  return asked(by("help"), by("help").querySelector("button"));
}

export function showConflicts(html, open) {
  by("differences").innerHTML = html;
  for (const button of by("differences").querySelectorAll("[data-open]"))
    button.addEventListener("click", () => {
      by("differ").close();
      open(Number(button.dataset.open));
    });
  return asked(by("differ"), by("differ").querySelector("button"));
}
