// Draws a picture of a part as SVG, by ECharts on the server's side: no browser, no canvas. On a white card of its own, so
// that it is readable on a dark page, too. Pure.
import type { CustomSeriesRenderItem, EChartsOption, SeriesOption } from 'echarts';
import { init } from 'echarts';
import type { Picture } from '../part.js';

const WIDTH_PX = 800;
const HEIGHT_PX = 420;
const LEFT_PX = 80;
const RIGHT_PX = 50;
const BAR_WIDTH_MAX_PX = 60;
const WHISKER_HALF_WIDTH_PX = 5;
const INK = '#24292f';
const PAPER = '#ffffff';
const GRID = '#d8dee4';
/** Told apart by people who see colours differently, too (Okabe and Ito, 2008). */
const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00'];

export function svgOf(picture: Picture): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH_PX, height: HEIGHT_PX });
  try {
    chart.setOption(optionOf(picture));
    return withOwnNames(chart.renderToSVGString());
  } finally {
    chart.dispose();
  }
}

/** Its names count on from picture to picture of a process: the same picture is to be the same file. */
function withOwnNames(svg: string): string {
  const names = new Map<string, string>();
  return svg.replaceAll(/\bzr\d+-[a-z]+-?\d+/g, (name) => {
    const own = names.get(name) ?? `name-${names.size}`;
    names.set(name, own);
    return own;
  });
}

function optionOf({ title, kind, x, y, points }: Picture): EChartsOption {
  const names = [...new Set(points.map(({ series }) => series))];
  const labels = [...new Set(points.map((point) => String(point.x)))];
  const labelWidth = (WIDTH_PX - LEFT_PX - RIGHT_PX) / labels.length;
  const axis = { nameLocation: 'middle' as const, nameTextStyle: { color: INK }, axisLabel: { color: INK } };
  const valueAxis = (logarithmic = false) => ({
    type: logarithmic ? ('log' as const) : ('value' as const),
    splitLine: { lineStyle: { color: GRID } },
  });
  const xAxis = kind === 'bars' ? { type: 'category' as const, data: labels } : valueAxis(x.logarithmic);
  return {
    animation: false,
    backgroundColor: PAPER,
    color: COLOURS,
    textStyle: { fontFamily: 'system-ui, sans-serif', color: INK },
    title: { text: title, left: 'center', top: 12, textStyle: { color: INK, fontSize: 16 } },
    ...(names.length > 1 && { legend: { data: names, top: 40, textStyle: { color: INK } } }),
    grid: { left: LEFT_PX, right: RIGHT_PX, top: names.length > 1 ? 80 : 60, bottom: 70 },
    xAxis: {
      ...axis,
      ...xAxis,
      name: x.title,
      nameGap: 45,
      axisLabel: { color: INK, ...(kind === 'bars' && { interval: 0, width: labelWidth, overflow: 'break' as const }) },
    },
    yAxis: { ...axis, ...valueAxis(y.logarithmic), name: y.title, nameGap: 55 },
    series: names.flatMap((name, index): SeriesOption[] => {
      const own = points.filter(({ series }) => series === name);
      const at = (point: (typeof own)[number]): string | number => (kind === 'bars' ? String(point.x) : point.x);
      const colour = COLOURS[index % COLOURS.length] ?? INK;
      return [
        {
          name,
          type: kind === 'bars' ? 'bar' : 'line',
          data: own.map((point) => [at(point), point.y.median]),
          itemStyle: { color: colour },
          barMaxWidth: BAR_WIDTH_MAX_PX,
        },
        {
          type: 'custom',
          name: `${name}, spread`,
          silent: true,
          z: 10,
          data: own.map((point) => [at(point), point.y.min, point.y.max]),
          encode: { x: 0, y: [1, 2] },
          renderItem: whiskers(kind === 'bars' ? { colour: INK, bar: { index, of: names.length } } : { colour }),
        },
      ];
    }),
  };
}

interface Whiskers {
  readonly colour: string;
  /** Its place among the bars of one label. */
  readonly bar?: { readonly index: number; readonly of: number };
}

/** A line from the lowest to the highest value, with a short stroke at each end; at its own bar where there are bars. */
function whiskers({ colour, bar }: Whiskers): CustomSeriesRenderItem {
  return (_params, api) => {
    const x = api.value(0);
    const [left = 0, low = 0] = api.coord([x, api.value(1)]);
    const [, high = 0] = api.coord([x, api.value(2)]);
    const bars = bar === undefined ? undefined : api.barLayout({ count: bar.of, barMaxWidth: BAR_WIDTH_MAX_PX });
    const centre = left + (bars?.[bar?.index ?? 0]?.offsetCenter ?? 0);
    const line = (x1: number, y1: number, x2: number, y2: number) => ({
      type: 'line' as const,
      shape: { x1, y1, x2, y2 },
      style: { stroke: colour, lineWidth: 1.5 },
    });
    const stroke = (y: number) => line(centre - WHISKER_HALF_WIDTH_PX, y, centre + WHISKER_HALF_WIDTH_PX, y);
    return { type: 'group', children: [line(centre, low, centre, high), stroke(low), stroke(high)] };
  };
}
