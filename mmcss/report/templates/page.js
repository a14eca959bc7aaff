'use strict';
const dark = window.matchMedia('(prefers-color-scheme: dark)');

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const colour = name => style.getPropertyValue(name).trim();
  const axis = {gridcolor: colour('--line'), linecolor: colour('--line'), tickcolor: colour('--line')};
  return {
    ...layout,
    font: {...layout.font, color: colour('--ink'), family: 'system-ui, sans-serif'},
    hoverlabel: {bgcolor: colour('--raised'), bordercolor: colour('--line'), font: {color: colour('--ink')}},
    modebar: {bgcolor: 'rgba(0, 0, 0, 0)', color: colour('--quiet'), activecolor: colour('--ink')},
    xaxis: {...layout.xaxis, ...axis},
    yaxis: {...layout.yaxis, ...axis},
  };
}

function draw(chart) {
  const figure = JSON.parse(chart.querySelector('script').textContent);
  const options = {responsive: true, displaylogo: false, modeBarButtons: [['toImage', 'resetScale2d']]};
  Plotly.react(chart.querySelector('div'), figure.data, themed(figure.layout), options);
}

// A chart in a hidden part has no width.
function drawShown() {
  for (const chart of document.querySelectorAll('.chart')) {
    if (!chart.closest('[hidden]')) draw(chart);
  }
}

function sortBy(header) {
  const table = header.closest('table'), column = header.cellIndex, body = table.tBodies[0];
  // The largest number first, and the first word of the alphabet.
  const numeric = header.classList.contains('number');
  const before = header.getAttribute('aria-sort');
  const ascending = before ? before === 'descending' : !numeric;
  const key = row => {
    const cell = row.cells[column];
    return numeric ? Number(cell.dataset.value ?? (parseFloat(cell.textContent) || -Infinity)) : cell.textContent;
  };
  const compare = (a, b) => numeric ? a - b || 0 : a.localeCompare(b, undefined, {numeric: true});
  const rows = [...body.rows].sort((a, b) => (ascending ? 1 : -1) * compare(key(a), key(b)));
  body.append(...rows);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
  header.setAttribute('aria-sort', ascending ? 'ascending' : 'descending');
}

for (const header of document.querySelectorAll('th')) {
  const table = header.closest('table');
  const cells = [...table.tBodies[0].rows].map(row => row.cells[header.cellIndex]);
  // Missing values and deviations among numbers stand as they do.
  const numeric = cells.some(cell => cell.classList.contains('number'));
  for (const cell of [header, ...cells]) cell.classList.toggle('number', numeric);
  header.addEventListener('click', () => sortBy(header));
}
document.getElementById('chosen')?.addEventListener('change', event => {
  document.querySelectorAll('.run').forEach((run, index) => { run.hidden = index !== Number(event.target.value); });
  drawShown();
});
dark.addEventListener('change', drawShown);
drawShown();
