"""The charts of a report, as figures of Plotly. Colours of text, axes and background are the page's, see page.js."""
from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np
import plotly.graph_objects as go

from .collect import Run, Step
from .tables import methods, shares_of_labels

# Of runs and methods; told apart by the colour-blind, and visible on white and on black (Okabe and Ito's, one darkened).
COLOURS = ('#0072b2', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#56b4e9', '#8a7a00', '#7f7f7f')
DASHES = ('solid', 'dash', 'dot', 'dashdot')
GREY = '#7f7f7f'
SCALE = 'Cividis'
MOST_NUMBERS = 24  # rows or columns of a heat map whose cells have room for numbers
HEIGHT = 340
SCORE_NAMES = {'old': 'mIoU of old {}', 'new': 'mIoU of new {}', 'all': 'mIoU of all {}',
               'average': 'average of mIoU over steps', 'forgetting': 'forgetting'}  # of classes or domains


def score_curves(runs: Sequence[Run], key: str) -> go.Figure:
    """A score (old, new or all) after each step, a curve for each run."""
    traces = [go.Scatter(x=[step.step for step in run.steps], y=[step.means[key] for step in run.steps], name=run.name,
                         mode='lines+markers', line=dict(color=COLOURS[i % len(COLOURS)], dash=_dash(i)),
                         hovertemplate='%{y:.1f} %') for i, run in enumerate(runs)]
    steps = max(len(run.results['scenario']) for run in runs)
    return _figure(traces, xaxis=dict(title='step', dtick=_tick(steps), range=[-.2, max(steps - 1, 1) + .2]), yaxis=_percent(),
                   hovermode='x unified')


def score_boxes(runs: Sequence[Run], key: str) -> go.Figure:
    """A final score, a box with all of its runs for each method."""
    traces = [go.Box(y=[run.scores[key] for run in members], name=method, text=[run.name for run in members],
                     marker_color=COLOURS[i % len(COLOURS)], boxpoints='all', jitter=.4, pointpos=0, boxmean=True,
                     hovertemplate='%{text}: %{y:.1f}<extra></extra>')
              for i, (method, members) in enumerate(methods(runs).items())]
    return _figure(traces, yaxis=_percent(), showlegend=False)


def class_bars(runs: Sequence[Run]) -> go.Figure:
    """The IoU of each class at the last step: bars of the classes' colours for one run, of the runs' for several."""
    names = list(dict.fromkeys(name for run in runs for name in run.last.classes))
    traces = []
    for i, run in enumerate(runs):
        iou, colours = dict(zip(run.last.classes, run.last.iou)), run.colours
        colour: Any = COLOURS[i % len(COLOURS)]
        if len(runs) == 1 and colours:
            colour = [f'rgb{colours[name]}' for name in names]
        traces.append(go.Bar(x=names, y=[iou.get(name) for name in names], name=run.name, showlegend=len(runs) > 1,
                             marker=dict(color=colour, line=dict(color=GREY, width=.5 if len(runs) == 1 else 0)),
                             hovertemplate='%{x}: %{y:.1f} %'))
    height = HEIGHT if len(names) <= MOST_NUMBERS else HEIGHT + 120  # names are upright then
    return _figure(traces, height, xaxis=dict(tickangle=_angle(names)), yaxis=_percent(), barmode='group', bargap=.25)


def step_matrix(run: Run) -> go.Figure:
    """The IoU of each class (the mIoU of each domain) after each step."""
    names = list(run.results['matrix'])
    values = [[np.nan if value is None else value for value in run.results['matrix'][name]] for name in names]
    return _heat_map(values, [str(step.step) for step in run.steps], names, 'step', '',
                     '%{y} after step %{x}: %{z:.1f} %<extra></extra>')


def confusion_map(step: Step) -> Optional[go.Figure]:
    """The share of each class's pixels that are predicted as each class; None where the run has not stored it."""
    if step.confusion is None:
        return None
    figure = _heat_map(shares_of_labels(step.confusion).tolist(), step.classes, step.classes, 'predicted', 'labelled',
                       '%{y} is predicted as %{x}: %{z:.1f} % of its pixels<extra></extra>')
    old = len(step.classes) - len(set(step.classes) & set(step.entering))
    if 0 < old < len(step.classes):
        figure.add_vline(x=old - .5, line=dict(color='white', width=2))
        figure.add_hline(y=old - .5, line=dict(color='white', width=2))
    return figure


def training_curves(run: Run, keys: Sequence[str]) -> go.Figure:
    """Values that were logged, over the iterations of all steps; a dotted line and its number begin each step."""
    starts = np.cumsum([0, *(step.training[-1]['step'] if step.training else 0 for step in run.steps)])
    traces = []
    for i, key in enumerate(keys):
        points = [(int(start + entry['step']), entry.get(key)) for start, step in zip(starts, run.steps)
                  for entry in (*step.training, dict(step=len(step.training) and step.training[-1]['step']))]
        traces.append(go.Scatter(x=[x for x, _ in points], y=[y for _, y in points], name=key, mode='lines',
                                 line=dict(color=COLOURS[i % len(COLOURS)], width=1.5), hovertemplate='%{y:.4g}',
                                 visible=True if key == keys[0] else 'legendonly'))
    figure = _figure(traces, xaxis=dict(title='iteration over all steps'), yaxis=dict(rangemode='tozero', exponentformat='e'),
                     hovermode='x unified')
    for start, step in zip(starts, run.steps):
        if not step.training:
            continue
        figure.add_vline(x=int(start), line=dict(color=GREY, width=1, dash='dot'),
                         annotation=dict(text=str(step.step), font_size=11, xanchor='left', yanchor='top', y=1))
    return figure


def losses_of(run: Run) -> List[str]:
    """The names of the losses that were logged, their sum first."""
    names = dict.fromkeys(key for step in run.steps for entry in step.training for key in entry if 'loss' in key)
    return sorted(names, key=lambda name: name != 'loss')


def cost_bars(runs: Sequence[Run], values: Mapping[str, Sequence[Optional[float]]], unit: str) -> go.Figure:
    """A cost of each step: bars for each run, of ``values[name of the run][step]``."""
    traces = [go.Bar(x=[f'step {step.step}' for step in run.steps], y=list(values[run.name]), name=run.name,
                     showlegend=len(runs) > 1, marker_color=COLOURS[i % len(COLOURS)], hovertemplate=f'%{{y:.1f}} {unit}')
              for i, run in enumerate(runs)]
    return _figure(traces, yaxis=dict(title=unit, rangemode='tozero'), barmode='group', bargap=.25)


def _heat_map(values: Sequence[Sequence[float]], columns: Sequence[str], rows: Sequence[str], across: str, down: str,
              hover: str) -> go.Figure:
    numbers = len(rows) <= MOST_NUMBERS and len(columns) <= MOST_NUMBERS
    trace = go.Heatmap(z=values, x=list(columns), y=list(rows), zmin=0, zmax=100, colorscale=SCALE, hoverongaps=False,
                       xgap=int(numbers), ygap=int(numbers), hovertemplate=hover,
                       colorbar=dict(thickness=10, outlinewidth=0, ticksuffix=' %'))
    if numbers:
        trace.text = [['' if np.isnan(value) else f'{value:.1f}' for value in row] for row in values]
        trace.texttemplate = '%{text}'
    height = 120 + len(rows) * (26 if numbers else 13)
    axis: Dict[str, Any] = dict(type='category', showgrid=False)
    return _figure([trace], height=max(height, 200), xaxis=dict(axis, title=across, tickangle=_angle(columns)),
                   yaxis=dict(axis, title=down, autorange='reversed', dtick=1, automargin=True))


def _figure(traces: Sequence[Any], height: int = HEIGHT, **layout: Any) -> go.Figure:
    for name in ('xaxis', 'yaxis'):
        axis = layout.get(name, {})
        # With a legend, margins that follow the numbers of an axis, and numbers that follow the margins, find no end.
        layout[name] = dict(dict(automargin=name == 'xaxis'), **axis, zeroline=False)
        layout[name]['title'] = dict(text=axis.get('title', ''), standoff=10)
    margin = dict(l=10 if layout['yaxis']['automargin'] else 60, r=10, t=32, b=10)
    return go.Figure(list(traces), dict(
        template='none', height=height, margin=margin, paper_bgcolor='rgba(0,0,0,0)', plot_bgcolor='rgba(0,0,0,0)',
        font=dict(size=13), legend=dict(orientation='h', y=1.02, yanchor='bottom', x=0), **layout))


def _percent() -> Dict[str, Any]:
    return dict(ticksuffix=' %', rangemode='tozero')


def _angle(names: Sequence[str]) -> int:
    """Of the names below a chart: left to Plotly it changes with the margins, and these with it."""
    if len(names) > MOST_NUMBERS:
        return -90
    return -45 if sum(map(len, names)) > 30 else 0


def _tick(steps: int) -> int:
    return max(1, steps // 12)


def _dash(index: int) -> str:
    """Runs beyond the colours have the colours again, with other dashes."""
    return DASHES[index // len(COLOURS) % len(DASHES)]
