// The review page: a list of positions, a card of the sample that stands in it, and a key for each decision.

import { get, Saver } from "./api.js";
import { askLabel, askNote, askShares, isOpen, showConflicts, showFiles, showHelp } from "./dialogs.js";
import { askTokens } from "./tagger.js";
import { swipes } from "./swipes.js";
import { Table } from "./table.js";

const AHEAD = 3; // cards that are fetched before they are shown
const BATCH = 200; // positions that are fetched at a time
const by = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString();

const config = await get("/state");
const actionOf = Object.fromEntries(Object.entries(config.keys).flatMap(([name, keys]) => keys.map((key) => [key, name])));

let rows = []; // positions in the order of the queue
let place = -1;
let total = 0;
let generation = 0; // of the query; answers to an earlier one are thrown away
let shownAt = null; // when the card of the sample was shown; null until then: nothing is decided unseen
let note = "";
let everything = null; // a query all of whose samples are selected, and their number
const picked = new Set();
const decided = new Set();
const cards = new Map();

const saver = new Saver((waiting, problem) => {
  by("alert").hidden = !problem;
  if (problem) {
    by("alert").textContent = `Not saved: ${waiting} step${waiting > 1 ? "s" : ""}. ${problem} `;
    const again = Object.assign(document.createElement("button"), { type: "button", textContent: "Try again" });
    again.addEventListener("click", () => saver.run());
    by("alert").append(again);
  }
  document.body.dataset.waiting = waiting;
});

const table = new Table(asked, openAt, picked, showTools, (count) => {
  everything = { query: Object.fromEntries(asked()), expected: count };
  showTools();
});

// --- which samples ---

function asked() {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(by("filters"))) if (value !== "") query.set(name, value);
  return query;
}

async function reload() {
  generation += 1;
  rows = [];
  place = -1;
  cards.clear();
  history.replaceState(null, "", `#${asked()}`);
  const chosen = [...by("filters").elements].filter((one) => one.name && one.value !== "" && one.value !== "any");
  by("chosen").textContent = chosen.map((one) => one.selectedOptions?.[0].textContent ?? one.value).join(" · ");
  await saver.idle();
  await more();
  await show(0);
  if (!by("table").hidden) await table.load(0);
}

async function more() {
  const query = asked();
  const of = generation;
  query.set("brief", 1);
  query.set("limit", BATCH);
  query.set("offset", rows.filter((position) => query.get("state") !== "undecided" || !decided.has(position)).length);
  const found = await get(`/queue?${query}`);
  if (of !== generation) return;
  const known = new Set(rows);
  rows.push(...found.rows.filter((position) => !known.has(position)));
  total = found.total;
}

// --- the card ---

function card(position) {
  if (!cards.has(position)) {
    if (cards.size > 40) cards.delete(cards.keys().next().value);
    const made = get(`/card/${position}`);
    made.catch(() => cards.delete(position));
    cards.set(position, made);
  }
  return cards.get(position);
}

async function show(to) {
  shownAt = null;
  delete document.body.dataset.shown;
  if (to >= rows.length - 5 && to > 0) {
    if (to >= rows.length) await saver.idle(); // what is being saved is not offered again
    await more();
  }
  place = Math.max(0, Math.min(to, rows.length));
  const position = rows[place];
  if (position === undefined) {
    by("where").textContent = "Nothing left here: choose other samples above, or end with Ctrl-C in the terminal.";
    by("card").replaceChildren();
    return showTools();
  }
  try {
    const html = await card(position);
    if (rows[place] !== position) return undefined;
    by("card").innerHTML = html;
  } catch (error) {
    by("where").textContent = `Sample ${position} cannot be shown: ${error.message}`;
    by("card").replaceChildren();
    return undefined;
  }
  const sample = by("sample");
  by("where").textContent = `Sample ${sample.dataset.id}, ${number(place + 1)} of ${number(Math.max(total, rows.length))}: given ${sample.dataset.words}`;
  for (const button of by("card").querySelectorAll("[data-label]"))
    button.addEventListener("click", () => decide("relabel", Number(button.dataset.label)));
  for (const button of by("card").querySelectorAll("[data-token]"))
    button.addEventListener("click", () => relabelTokens(Number(button.dataset.token)));
  for (const button of by("card").querySelectorAll("[data-open]"))
    button.addEventListener("click", () => openAt(Number(button.dataset.open)));
  document.body.dataset.shown = position;
  shownAt = performance.now();
  rows.slice(place + 1, place + 1 + AHEAD).forEach(card);
  return showTools();
}

function openAt(position) {
  let at = rows.indexOf(position);
  if (at < 0) {
    at = Math.max(place, 0);
    rows.splice(at, 0, position);
  }
  setTable(false);
  return show(at).then(() => by("where").focus());
}

// --- decisions ---

const several = () => everything !== null || picked.size > 0;

function decide(kind, label = null) {
  const many = several();
  if (!many && !by("table").hidden) return say("Select samples in the table first.");
  if (!many && shownAt === null) return undefined;
  if (everything && !confirm(`${kind}: ${number(everything.expected)} samples?`)) return undefined;
  const position = rows[place];
  const of = everything ?? { positions: many ? [...picked] : [position] };
  const milliseconds = shownAt === null ? 0 : Math.round(performance.now() - shownAt);
  const content = { kind, label, note, milliseconds, ...of };
  for (const one of of.positions ?? []) {
    decided.add(one);
    cards.delete(one);
  }
  note = "";
  clear();
  saver.push("/decide", content, (result) => saved(many, position, result), (words) => {
    of.positions?.forEach((one) => decided.delete(one));
    by("alert").hidden = false;
    by("alert").textContent = `Not saved: ${words}`;
  });
  return many ? undefined : show(place + 1);
}

function saved(many, position, result) {
  say(many ? `Saved ${number(result.saved)} samples: ${result.words}` : `Saved ${position}: ${result.words}`);
  if (many) reload();
  header();
}

const shownOf = (name) => JSON.parse(by("sample")?.dataset[name] ?? "null");

function turnBack(action) {
  saver.push(
    `/${action}`,
    {},
    (result) => {
      if (!result.positions.length) return say(`Nothing left to ${action}.`);
      for (const one of result.positions) {
        action === "undo" ? decided.delete(one) : decided.add(one);
        cards.delete(one);
      }
      say(`${action === "undo" ? "Undone" : "Done again"}: ${result.positions.length === 1 ? result.positions[0] : `${number(result.positions.length)} samples`}`);
      header();
      if (!by("table").hidden) return table.load();
      return openAt(result.positions[0]);
    },
    say,
  );
}

async function learnt({ decisions }) {
  await reload();
  header();
  say(`The order goes by what ${number(decisions)} decisions teach.`);
}

async function relabel() {
  if (!several() && !by("table").hidden) return say("Select samples in the table first.");
  if (config.kind === "token") return relabelTokens();
  if (config.kind !== "value" && !config.classes.length) return say("This run holds no labels to choose from.");
  const label = await askLabel(config.kind, config.classes, shownOf("said") ?? shownOf("given"), config.targets);
  return label === undefined ? undefined : decide("relabel", label);
}

async function relabelTokens(at = null) {
  if (several()) return say("Tokens get their labels one sample at a time: select nothing first.");
  const given = shownOf("given");
  if (!shownOf("tokens") || !given.length) return say("This run holds no labels of tokens.");
  const texts = [...by("card").querySelectorAll(".words li")].map((item) => item.querySelector("span").textContent);
  const other = shownOf("suggested");
  const flagged = other ? other.findIndex((label, place) => label !== given[place]) : 0;
  const words = texts.map((text, place) => [text, shownOf("tokens")[place]]);
  const labels = await askTokens(config.classes, words, given, other, shownOf("said") ?? given, at ?? Math.max(0, flagged));
  return labels === undefined ? undefined : decide("relabel", labels);
}

function suggested() {
  if (!several() && shownOf("suggested") === null) return say("There is no suggested label: give another one.");
  return decide("suggested");
}

async function shares() {
  if (config.kind !== "class") return decide("ambiguous");
  const offered = [...by("card").querySelectorAll("[data-label]")].map((one) => Number(one.dataset.label));
  const given = await askShares(config.classes, offered);
  if (given !== undefined) decide("ambiguous", given);
}

// --- selection ---

function clear() {
  picked.clear();
  everything = null;
  for (const box of by("rows").querySelectorAll("input")) box.checked = false;
  showTools();
}

function select(positions, on = true) {
  everything = null;
  for (const one of positions) on ? picked.add(one) : picked.delete(one);
  showTools();
}

async function pair() {
  const { given, suggested: other } = by("sample").dataset;
  if (config.kind !== "class" || other === "null") return say("This sample has no pair of given and suggested label.");
  const query = { scope: "flagged", state: "undecided", given, suggested: other };
  const found = await get(`/queue?${new URLSearchParams({ ...query, limit: 1, brief: 1 })}`);
  picked.clear();
  everything = { query, expected: found.total };
  return showTools();
}

// --- the page ---

const does = {
  next: () => show(place + 1),
  previous: () => show(place - 1),
  keep: () => decide("keep"),
  suggested,
  relabel,
  drop: () => decide("drop"),
  ambiguous: () => decide("halves"),
  shares,
  skip: () => decide("skip"),
  note: async () => {
    note = await askNote(note);
    showTools();
  },
  undo: () => turnBack("undo"),
  redo: () => turnBack("redo"),
  select: () => select([rows[place]], !picked.has(rows[place])),
  duplicates: () => select([rows[place], ...JSON.parse(by("sample").dataset.duplicates)]),
  pair,
  clear,
  search: () => {
    by("choose").open = true;
    by("filters").elements.text.focus();
  },
  table: () => setTable(by("table").hidden),
  learn: () => saver.push("/relearn", {}, learnt, say),
  files: () => showFiles(() => saver.idle().then(reload).then(header)),
  help: () => showHelp(config.words, config.keys),
};
const BUTTONS = {
  tools: {
    keep: "Keep", suggested: "Suggested label", relabel: "Another label …", drop: "Drop", ambiguous: "Ambiguous", skip: "Skip",
  },
  moves: {
    undo: "Undo", redo: "Redo", previous: "Before", next: "Next", table: "Table", learn: "Learn", select: "Select", note: "Note …", files: "Files …", help: "Keys",
  },
};

function setTable(on) {
  by("table").hidden = !on;
  by("card").hidden = by("where").hidden = on;
  document.body.dataset.view = on ? "table" : "card";
  if (on) table.load(0);
}

function showTools() {
  const count = everything ? everything.expected : picked.size;
  const words = [count ? `${number(count)} selected: the next decision is for all of them.` : "", note ? `Note: ${note}` : ""];
  by("picked").textContent = words.filter(Boolean).join(" ");
  by("moves").querySelector("[data-action=select]").setAttribute("aria-pressed", picked.has(rows[place]));
}

function say(words) {
  by("status").textContent = words;
}

let asking = null;
function header() {
  asking ??= setTimeout(async () => {
    asking = null;
    const open = by("numbers")?.open;
    by("progress").innerHTML = await get("/header");
    if (open && by("numbers")) by("numbers").open = true;
    by("show-conflicts")?.addEventListener("click", async () => showConflicts(await get("/conflicts"), openAt));
    document.title = `${by("left").textContent} left · gradsift review`;
  }, 200);
}

document.addEventListener("keydown", (event) => {
  const field = event.target.closest?.("input:not([type=checkbox]), select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || isOpen()) return;
  if (field) {
    if (event.key === "Escape") by("where").focus();
    return;
  }
  const digit = /^\d$/.test(event.key) && by("card").querySelector(`[data-digit="${event.key}"]`);
  const action = actionOf[event.key];
  if (!digit && !action) return;
  event.preventDefault();
  digit ? decide("relabel", Number(digit.dataset.label)) : does[action]();
});

for (const [group, buttons] of Object.entries(BUTTONS))
  for (const [action, words] of Object.entries(buttons)) {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.dataset.action = action;
    button.append(words, " ", Object.assign(document.createElement("kbd"), { textContent: config.keys[action][0] }));
    button.addEventListener("click", () => does[action]());
    by(group).append(button);
  }

let typing = null;
by("filters").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(reload, event.target.matches("input") ? 300 : 0);
});
by("filters").addEventListener("reset", () => setTimeout(reload));
by("filters").addEventListener("submit", (event) => event.preventDefault());
swipes(by("card"), { right: does.keep, left: () => (by("sample")?.dataset.suggested === "null" ? relabel() : suggested()) });

for (const [name, value] of new URLSearchParams(location.hash.slice(1))) if (by("filters").elements[name]) by("filters").elements[name].value = value;
document.body.dataset.waiting = 0;
header();
await reload();
