// What the page does: it shows each state that the server pushes, and fetches the parts that a state
// says are old. Names are put in as text, never as markup; fragments come escaped from the server.

const { root, client } = document.body.dataset;
const query = client ? `?client_id=${encodeURIComponent(client)}` : "";
const at = (path) => `${root}/sam2_ct/${path}${query}`;
const find = (selector, within = document) => within.querySelector(selector);

/** An answer of the server; whoever is logged out is sent to the log-in. */
async function ask(url, options) {
  const answer = await fetch(url, options);
  if (answer.status === 401) location.reload();
  return answer;
}

const live = find("#live");
const said = find("#said");

/** Said to screen readers, once. */
function say(sentence) {
  said.textContent = sentence;
}

// -- jobs, queues, batches ------------------------------------------------------------------------

/**
 * Rows of a list, one for each item: those that stay are the same elements, so that the focus and
 * what a screen reader reads stay, too.
 */
function rows(list, template, items, key, fill) {
  const known = new Map([...list.children].map((row) => [row.dataset.key, row]));
  let next = list.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let row = known.get(name);
    if (row) {
      known.delete(name);
    } else {
      row = find(template).content.firstElementChild.cloneNode(true);
      row.dataset.key = name;
    }
    if (row === next) next = next.nextElementSibling;
    else list.insertBefore(row, next);
    fill(row, item);
  }
  for (const row of known.values()) {
    if (row.contains(document.activeElement)) heading(list).focus();
    row.remove();
  }
}

const heading = (element) => find("h2", element.closest("section"));

function duration(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

const clock = (seconds) => new Date(1000 * seconds).toLocaleTimeString();

const OVER = ["done", "failed", "cancelled"];
const states = new Map();

/** A bar: `done` of `all`, or moving without an end where that is not known yet. */
function bar(element, label, done, all, sentence) {
  if (all > 0) {
    element.max = all;
    element.value = done;
  } else {
    element.removeAttribute("value");
  }
  element.setAttribute("aria-label", label);
  element.setAttribute("aria-valuetext", sentence);
}

/** Hides a button; the focus, if it is there, goes to the section's heading. */
function offer(button, offered) {
  if (!offered && button === document.activeElement) heading(button).focus();
  button.hidden = !offered;
}

function showJob(row, job) {
  const over = OVER.includes(job.state);
  row.className = job.state;
  find(".state", row).textContent = job.state;
  find(".image", row).textContent = job.image;
  find(".model", row).textContent = job.model;
  find(".whose", row).hidden = !document.body.hasAttribute("data-admin");
  find(".whose bdi", row).textContent = job.client;
  const left = job.seconds_left === null ? "" : `, ${duration(job.seconds_left)} left`;
  const slices = job.slices ? `${job.slices_done} of ${job.slices} slices` : "";
  const told = over
    ? [slices, job.why, `asked at ${clock(job.created)}`].filter(Boolean).join(" · ")
    : job.state === "queued" ? "waits for its turn" : slices ? slices + left : "begins";
  find(".told", row).textContent = told;
  const progress = find("progress", row);
  progress.hidden = over || job.state === "queued";
  bar(progress, `Progress of ${job.image}`, job.slices_done, job.slices, told);
  const stop = find(".stop", row);
  offer(stop, !over);
  stop.setAttribute("aria-label", `Cancel ${job.image}`);
  stop.dataset.method = "DELETE";
  stop.dataset.url = at(`jobs/${encodeURIComponent(job.id)}`);
  if (states.get(job.id) !== job.state) {
    if (states.has(job.id)) say(`${job.image}: ${job.state}`);
    states.set(job.id, job.state);
  }
}

function showQueue(element, queue) {
  find("h3", element).textContent = queue.device;
  const places = [
    ...queue.running.map((job) => ["runs", job]),
    ...queue.waiting.map((job, n) => [`waits, place ${n + 1}`, job]),
  ];
  const list = find("ol", element);
  list.replaceChildren(...places.map(([place, job]) => {
    const row = document.createElement("li");
    const whose = document.createElement("bdi");
    whose.textContent = job.image ?? "somebody else’s";
    row.append(whose, `, ${job.model}: ${place}`);
    return row;
  }));
  find(".empty", element).hidden = places.length > 0;
}

function showBatch(row, batch) {
  find(".state", row).textContent = batch.status.toLowerCase();
  find(".model", row).textContent = `${batch.model}, begun ${clock(batch.started)}`;
  const counted = `${batch.over} of ${batch.images} images` +
    (batch.failed ? `, ${batch.failed} failed` : "");
  const whose = batch.id ? (batch.now ? ` · at ${batch.now}` : "") : " · somebody else’s";
  find(".told", row).textContent = counted + whose;
  const progress = find("progress", row);
  progress.hidden = batch.status !== "RUNNING";
  bar(progress, `Progress of the batch with ${batch.model}`, batch.over, batch.images, counted);
  const stop = find(".stop", row);
  offer(stop, batch.can_stop);
  stop.setAttribute("aria-label", `Stop the batch with ${batch.model}`);
  stop.dataset.method = "DELETE";
  stop.dataset.url = `${root}/batch/infer`;
  find(".failures", row).replaceChildren(...(batch.failures ?? []).map(({ image, why }) => {
    const line = document.createElement("li");
    const name = document.createElement("bdi");
    name.textContent = image;
    line.append(name, `: ${why}`);
    return line;
  }));
}

function show(state) {
  rows(find("#jobs > ul"), "#job", state.jobs, (job) => job.id, showJob);
  find("#jobs .empty").hidden = state.jobs.length > 0;
  rows(find(".devices"), "#device", state.queues, (queue) => queue.device, showQueue);
  find("#queues .empty").hidden = state.queues.length > 0;
  find("#batches").hidden = state.batches.length === 0;
  rows(find("#batches > ul"), "#batch", state.batches, (b) => `${b.started} ${b.model}`, showBatch);
  const running = state.jobs.find((job) => job.state === "running" && job.slices);
  const part = running ? `${Math.floor((100 * running.slices_done) / running.slices)} % · ` : "";
  document.title = `${part}SAM 2 CT`;
  for (const part of parts) part.is(state[part.name]);
}

// -- parts that the server draws ------------------------------------------------------------------

/** A part of the page: fetched anew when a state names another version, one request at a time. */
class Part {
  constructor(element) {
    this.element = element;
    this.name = element.dataset.part;
    this.shown = this.wanted = undefined;
    this.busy = false;
    this.wait = 1000;
  }

  is(version) {
    this.wanted = version;
    if (!this.busy && this.shown !== version) this.fetch();
  }

  async fetch() {
    this.busy = true;
    const version = this.wanted;
    try {
      const answer = await ask(at(`page/${this.name}`));
      if (!answer.ok) throw new Error(`${answer.status}`);
      this.swap(await answer.text());
      this.shown = version;
      this.wait = 1000;
    } catch {
      this.element.setAttribute("data-old", "");
      this.wait = Math.min(2 * this.wait, 60000);
    }
    setTimeout(() => {
      this.busy = false;
      if (this.shown !== this.wanted) this.fetch();
    }, this.wait);
  }

  /** Puts a fragment in; the focus, and what somebody folded or unfolded, stay, by their ids. */
  swap(html) {
    const focused = this.element.contains(document.activeElement) ? document.activeElement : null;
    for (let one = focused; one; one = one.parentElement.closest("details")) touch(one);
    const touched = [...this.element.querySelectorAll("details[data-touched]")];
    const fresh = new DOMParser().parseFromString(html, "text/html");
    const before = this.element.textContent;
    this.element.replaceChildren(...fresh.body.childNodes);
    for (const { id, open } of touched) {
      const again = document.getElementById(id);
      if (again) Object.assign(again, { open }).dataset.touched = "";
    }
    if (focused) (document.getElementById(focused.id) ?? heading(this.element)).focus();
    this.element.removeAttribute("data-old");
    if (this.shown && before !== this.element.textContent) say(`${this.name} changed`);
  }
}

const parts = [...document.querySelectorAll("[data-part]")].map((element) => new Part(element));

/** What somebody folded, unfolded or works in stays as it is when its part is swapped. */
function touch(element) {
  if (element.matches("details")) element.dataset.touched = "";
}

document.addEventListener("click", ({ target }) => {
  const summary = target.closest("summary");
  if (summary) touch(summary.parentElement);
});

// -- buttons --------------------------------------------------------------------------------------

// `data-method` and `data-url`: ask the server; `data-copy`: copy the text of the element of that id
document.addEventListener("click", async ({ target }) => {
  const button = target.closest("button[data-url], button[data-copy]");
  if (!button) return;
  if (button.dataset.copy) return copy(document.getElementById(button.dataset.copy));
  button.setAttribute("aria-disabled", "true");
  try {
    const answer = await ask(button.dataset.url, { method: button.dataset.method ?? "POST" });
    if (!answer.ok) say((await answer.json()).detail);
  } catch {
    say("the server does not answer");
  } finally {
    button.removeAttribute("aria-disabled");
  }
});

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    say("copied");
  } catch { // only pages of this machine, or behind TLS, may write there
    getSelection().selectAllChildren(source);
    say("selected: press Ctrl and C to copy it");
  }
}

// -- the stream -----------------------------------------------------------------------------------

let stream = null;
let wait = 2000;

function connect() {
  disconnect();
  stream = new EventSource(at("events"));
  stream.addEventListener("open", () => {
    live.textContent = "live";
    wait = 2000;
  });
  stream.addEventListener("state", ({ data }) => show(JSON.parse(data)));
  stream.addEventListener("error", () => {
    live.textContent = "the server does not answer: trying again …";
    if (stream.readyState === EventSource.CLOSED) refused();
  });
}

function disconnect() {
  stream?.close();
  stream = null;
}

/** The stream was refused, which says nothing about why: logged out, or too many pages. */
async function refused() {
  disconnect();
  try {
    const answer = await ask(at("page/page.css"), { cache: "no-store" });
    if (answer.status === 401) return;
    live.textContent = "not live: too many pages of this server are open; trying again …";
  } catch {
    // the sentence stands already
  }
  setTimeout(() => document.hidden || stream || connect(), wait);
  wait = Math.min(2 * wait, 60000);
}

// A hidden page lets go: a browser has six connections for a server, and tabs are many.
document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
if (!document.hidden) connect();
