// The whole map of a head, drawn on a canvas, and what is pointed at there.
function drawMap() {
  const {tokens} = data.texts[now.text];
  const canvas = byId('map');
  const context = canvas.getContext('2d');
  const font = (points) => `${points}px system-ui, sans-serif`;
  context.font = font(12);
  margin = 8 + Math.ceil(Math.max(
      ...tokens.map((token) => context.measureText(token).width)));
  const room = byId('scroll').clientWidth - margin - 2;
  cell = Math.max(11, Math.min(26, Math.floor(room / size)));
  const side = margin + size * cell + 1;
  const scale = window.devicePixelRatio || 1;
  canvas.width = canvas.height = Math.round(side * scale);
  canvas.style.width = canvas.style.height = `${side}px`;
  context.scale(scale, scale);
  context.font = font(Math.min(12, cell));
  context.textBaseline = 'middle';
  for (let i = 0; i < size; i++) {
    context.fillStyle = i === now.token ? colours.chosen : colours.muted;
    context.textAlign = 'right';
    const middle = margin + (i + 0.5) * cell;
    context.fillText(tokens[i], margin - 5, middle);
    context.save();
    context.translate(middle, margin - 5);
    context.rotate(-Math.PI / 2);
    context.textAlign = 'left';
    context.fillText(tokens[i], 0, 0);
    context.restore();
    for (let j = 0; j < size; j++) {
      context.fillStyle = colour(weight(now.layer, now.head, i, j));
      context.fillRect(margin + j * cell, margin + i * cell, cell - 1,
                       cell - 1);
    }
  }
  context.strokeStyle = colours.chosen;
  context.lineWidth = 2;
  const offset = margin + now.token * cell - 0.5;
  if (now.from) context.strokeRect(margin - 1, offset, size * cell, cell);
  else context.strokeRect(offset, margin - 1, cell, size * cell);
}

byId('map').onpointermove = byId('map').onpointerdown = (event) => {
  const box = byId('map').getBoundingClientRect();
  const place = (offset) => Math.floor((offset - margin) / cell);
  const column = place(event.clientX - box.left);
  const row = place(event.clientY - box.top);
  if (Math.min(row, column) < 0 || Math.max(row, column) >= size) return;
  now.token = now.from ? row : column;
  if (event.type === 'pointerdown') now.pinned = now.token;
  follow(row, column);
};
byId('map').onpointerleave = (event) => {
  if (event.pointerType === 'touch') return;  // a finger that was lifted
  now.token = now.pinned;
  follow();
};
