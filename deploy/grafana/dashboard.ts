// The little of Grafana's dashboard format that the dashboards need: panels with queries, laid out in rows. Pure functions from
// a short description to the JSON that Grafana loads.

/** Grafana's name of a unit, e.g. `s`, `bytes`, `reqps`, `percentunit`, `short`. */
export type Unit = 's' | 'bytes' | 'reqps' | 'wps' | 'ops' | 'percentunit' | 'short' | 'none';

export interface Query {
  /** PromQL; may use the variables of the dashboard and `$__rate_interval`. */
  readonly expr: string;
  /** Of the series: text with `{{label}}`. */
  readonly legend: string;
}

export interface Panel {
  readonly title: string;
  /** What it shows and what to make of it, for who sees it for the first time. */
  readonly description: string;
  readonly unit: Unit;
  readonly kind?: 'timeseries' | 'stat' | 'heatmap';
  readonly queries: readonly Query[];
  /** Drawn as a line: the limit that an alert has, or an objective. */
  readonly threshold?: number;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

export interface Dashboard {
  /** Stable: links and the file's name hang on it. */
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  /** Whether its queries ask for `$coupon`. */
  readonly byCoupon: boolean;
  readonly rows: readonly Row[];
}

/** Of the format; Grafana 11 and 12 read it. */
const SCHEMA_VERSION = 39;
const WIDTH = 24;
const PANELS_PER_ROW = 3;
const PANEL_HEIGHT = 8;
const ROW_HEIGHT = 1;
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };

export function dashboardJson(dashboard: Dashboard): object {
  return {
    uid: dashboard.uid,
    title: dashboard.title,
    description: dashboard.description,
    tags: ['stampede'],
    schemaVersion: SCHEMA_VERSION,
    editable: false,
    // Points at a time: the crosshair is on all panels.
    graphTooltip: 1,
    refresh: '15s',
    time: { from: 'now-1h', to: 'now' },
    templating: { list: variables(dashboard.byCoupon) },
    links: [{ type: 'dashboards', title: 'Stampede', tags: ['stampede'], asDropdown: true, keepTime: true }],
    panels: layOut(dashboard.rows),
  };
}

function variables(byCoupon: boolean): object[] {
  const labelValues = (name: string, label: string, query: string) => ({
    ...{ name, label, type: 'query', datasource: DATASOURCE },
    query: { query, refId: name },
    definition: query,
    ...{ includeAll: true, multi: true, allValue: '.*', sort: 1 },
    // When the time range changes: coupons come and go.
    refresh: 2,
    current: { selected: true, text: ['All'], value: ['$__all'] },
  });
  return [
    { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' },
    labelValues('instance', 'Instance', 'label_values(stampede_workers, instance)'),
    ...(byCoupon ? [labelValues('coupon', 'Coupon', 'label_values(stampede_coupon_stock, coupon)')] : []),
  ];
}

function layOut(rows: readonly Row[]): object[] {
  const placed: object[] = [];
  let y = 0;
  let id = 1;
  for (const { title, panels } of rows) {
    placed.push({ id: id++, type: 'row', title, collapsed: false, panels: [], gridPos: box(0, y, WIDTH, ROW_HEIGHT) });
    y += ROW_HEIGHT;
    const width = WIDTH / Math.min(panels.length, PANELS_PER_ROW);
    panels.forEach((panel, index) => {
      const column = index % PANELS_PER_ROW;
      const top = y + Math.floor(index / PANELS_PER_ROW) * PANEL_HEIGHT;
      placed.push(panelJson(panel, id++, box(column * width, top, width, PANEL_HEIGHT)));
    });
    y += Math.ceil(panels.length / PANELS_PER_ROW) * PANEL_HEIGHT;
  }
  return placed;
}

function box(x: number, y: number, w: number, h: number): object {
  return { x, y, w, h };
}

function panelJson(panel: Panel, id: number, gridPos: object): object {
  const { title, description, unit, kind = 'timeseries', queries, threshold } = panel;
  const steps = [
    { color: 'green', value: null },
    ...(threshold === undefined ? [] : [{ color: 'red', value: threshold }]),
  ];
  return {
    ...{ id, type: kind, title, description, gridPos, datasource: DATASOURCE },
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode('A'.charCodeAt(0) + index),
      ...{ expr, legendFormat: legend, range: true, datasource: DATASOURCE },
      ...(kind === 'heatmap' && { format: 'heatmap' }),
    })),
    fieldConfig: {
      defaults: {
        unit,
        // A rate of next to nothing should not look like a storm.
        min: 0,
        thresholds: { mode: 'absolute', steps },
        ...(kind === 'timeseries' && {
          custom: { fillOpacity: 10, thresholdsStyle: { mode: threshold === undefined ? 'off' : 'line' } },
        }),
      },
      overrides: [],
    },
    options: optionsOf(kind, unit),
  };
}

function optionsOf(kind: NonNullable<Panel['kind']>, unit: Unit): object {
  switch (kind) {
    case 'stat':
      return { reduceOptions: { calcs: ['lastNotNull'] }, colorMode: 'value', graphMode: 'area' };
    case 'heatmap':
      return { calculate: false, yAxis: { unit }, cellGap: 1, color: { scheme: 'Oranges', steps: 64 } };
    case 'timeseries':
      return { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } };
  }
}
