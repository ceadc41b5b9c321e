const data = JSON.parse(document.getElementById('data').textContent);
const byId = (id) => document.getElementById(id);
const make = (tag, parent, text = '') => {
  const element = parent.appendChild(document.createElement(tag));
  element.textContent = text;
  return element;
};
// What is looked at. Layers are places in data.layers; `pinned` is the token
// that was chosen, `token` the one that is shown, which pointing changes.
const now = {
  text: 0, layer: 0, head: 0, pinned: 1, token: 1,
  view: 'attention', from: true,
};
const digits = (value) => Number(value.toPrecision(3));
let size, weights, colours, palette, cell, margin;

function load() {  // the numbers of a text
  const text = data.texts[now.text];
  const bytes = Uint8Array.from(atob(text.weights), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  weights = Float32Array.from(
      {length: bytes.length / 2}, (_, i) => view.getUint16(2 * i, true) / 65535);
  size = text.tokens.length;
  now.pinned = now.token = Math.min(now.pinned, size - 1);
}

const weight = (layer, head, to, from) => weights[
    ((layer * data.heads + head) * size + to) * size + from];

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const channels = (name) => style.getPropertyValue(name).trim().match(
      /[0-9a-f]{2}/gi).map((hex) => parseInt(hex, 16));
  const low = channels('--low'), high = channels('--high');
  palette = Array.from({length: 256}, (_, i) => low.map(
      (channel, k) => Math.round(channel + (high[k] - channel) * i / 255)));
  colours = {};
  for (const name of ['muted', 'chosen']) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
}
// The root shows a weight of 0.05 as well as one of 0.5.
const mix = (share) => palette[
    Math.round(255 * Math.sqrt(Math.min(1, share)))];
const colour = (share) => `rgb(${mix(share)})`;
const even = (share) => colour(share * share);  // without the root
// Black or white, whichever is the further: at least 4.5 to 1.
const ink = (share) => mix(share).reduce((sum, channel, i) => sum +
    [0.2126, 0.7152, 0.0722][i] * (channel / 255) ** 2.2, 0) > 0.18 ?
    '#000' : '#fff';

function choice(id, options, key) {  // buttons of which one is pressed
  byId(id).replaceChildren();
  options.forEach(([value, label], i) => {
    const button = make('button', byId(id), label);
    button.setAttribute('aria-pressed', now[key] === value);
    button.onclick = () => {
      now[key] = value;
      draw();
      byId(id).children[i].focus();
    };
  });
}

function legend(id, steps, colour, label) {
  byId(id).replaceChildren();
  make('b', byId(id), label);
  for (const [share, name] of steps) {
    const entry = make('span', byId(id));
    make('i', entry).style.background = colour(share);
    entry.append(name);
  }
}
const WEIGHTS = [0, 0.05, 0.2, 0.5, 1].map((share) => [share, String(share)]);

function drawThumbnail(canvas, layer, head) {
  canvas.width = canvas.height = size;
  const context = canvas.getContext('2d');
  const image = context.createImageData(size, size);
  const start = (layer * data.heads + head) * size * size;
  for (let i = 0; i < size * size; i++) {
    image.data.set(mix(weights[start + i]), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function drawOverview() {
  const text = data.texts[now.text];
  const values = {entropy: text.entropies, importance: text.importance}[
      now.view];
  const most = now.view === 'entropy' ? Math.log(size) :
      values ? Math.max(...values.flat(), 1e-12) : 1;
  const heads = byId('heads');
  heads.replaceChildren();
  // Many layers have smaller maps, so that a phone shows them all.
  const widest = Math.max(28, Math.min(64, 480 / data.layers.length));
  heads.style.gridTemplateColumns =
      `auto repeat(${data.heads}, minmax(0, ${widest}px))`;
  make('span', heads);
  for (let head = 0; head < data.heads; head++) make('span', heads, head);
  data.layers.forEach((name, layer) => {
    make('span', heads, name);
    for (let head = 0; head < data.heads; head++) {
      const button = make('button', heads);
      const value = values ?
          `, ${now.view} ${digits(values[layer][head])}` : '';
      button.title = `layer ${name}, head ${head}${value}`;
      button.setAttribute('aria-label', button.title);
      button.onclick = () => choose(layer, head);
      if (values) {
        button.style.background = even(values[layer][head] / most);
      } else {
        drawThumbnail(make('canvas', button), layer, head);
      }
    }
  });
  const steps = [0, 0.5, 1].map(
      (share) => [share, String(Number((share * most).toPrecision(2)))]);
  legend('overview-legend', values ? steps : WEIGHTS, values ? even : colour,
         `Rows are layers, columns heads; the colour is ${now.view}.`);
}

function choose(layer, head) {
  now.layer = (layer + data.layers.length) % data.layers.length;
  now.head = (head + data.heads) % data.heads;
  drawDetail();
  byId('heads').querySelector('[aria-pressed=true]').focus();
}

function drawTokens() {  // colours and numbers; the buttons are `makeTokens`'
  byId('tokens').querySelectorAll('button').forEach((button, i) => {
    const share = now.from ? weight(now.layer, now.head, now.token, i) :
        weight(now.layer, now.head, i, now.token);
    button.style.background = colour(share);
    button.style.color = ink(share);
    button.className = i === now.token ? 'chosen' : '';
    button.lastChild.textContent = (100 * share).toFixed(share < 0.1 ? 1 : 0);
  });
}

function makeTokens() {
  const {tokens, second} = data.texts[now.text];
  byId('tokens').replaceChildren();
  tokens.forEach((token, i) => {
    if (i === second) make('hr', byId('tokens'));
    const button = make('button', byId('tokens'), token);
    make('small', button);
    button.onpointerenter = () => { now.token = i; follow(); };
    button.onfocus = button.onpointerenter;
    button.onclick = () => { now.pinned = now.token = i; follow(); };
  });
  byId('tokens').onpointerleave = () => { now.token = now.pinned; follow(); };
}

// Shows another token, and says how much a row attends to a column.
function follow(row = null, column = null) {
  drawTokens();
  drawMap();
  const {tokens} = data.texts[now.text];
  byId('readout').textContent = row === null ? 'Rows attend to columns.' :
      `${tokens[row]} attends to ${tokens[column]}: ` +
          weight(now.layer, now.head, row, column).toFixed(4);
}

function drawDetail() {  // what belongs to the head that is looked at
  const text = data.texts[now.text];
  const place = now.layer * data.heads + now.head;
  byId('heads').querySelectorAll('button').forEach((button, i) => {
    button.setAttribute('aria-pressed', i === place);
  });
  byId('which').textContent =
      `Layer ${data.layers[now.layer]}, head ${now.head}`;
  byId('facts').textContent = `Entropy ${
      digits(text.entropies[now.layer][now.head])} of at most ${
      digits(Math.log(size))} nats` + (text.importance ?
      `; importance ${digits(text.importance[now.layer][now.head])}, the ` +
      'mean of |dL/dmask| where each token is masked in turn.' : '.');
  follow();
}

function draw() {
  const text = data.texts[now.text];
  const views = [['attention', 'attention'], ['entropy', 'entropy']];
  if (text.importance) views.push(['importance', 'importance']);
  choice('views', views, 'view');
  choice('directions', [[true, 'attends to'], [false, 'is attended by']],
         'from');
  drawOverview();
  legend('map-legend', WEIGHTS, colour, 'The colour is the attention weight.');
  drawDetail();
}

byId('heads').onkeydown = (event) => {
  const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0],
                ArrowDown: [1, 0]}[event.key];
  if (!step) return;
  event.preventDefault();
  choose(now.layer + step[0], now.head + step[1]);
};
data.texts.forEach((text) => make('option', byId('text'), text.tokens.slice(
    1, -1).join(' ').replaceAll(' ##', '')));
byId('texts').hidden = data.texts.length < 2;
byId('text').onchange = () => {
  now.text = byId('text').selectedIndex;
  load();
  makeTokens();
  draw();
};
const restart = () => { readColours(); draw(); };
matchMedia('(prefers-color-scheme: dark)').onchange = restart;
window.onresize = drawMap;
load();
makeTokens();
restart();
