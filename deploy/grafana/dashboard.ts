// The little of Grafana's dashboard format that the dashboards need: panels with queries, laid out in rows. Pure functions from
// a short description to the JSON that Grafana loads. The types are Grafana's own, of the version in compose.yaml: a member that it
// does not know, or of another kind, does not compile. What goes into a panel's `options` and `targets` is checked as its kind's.
import type {
  DashboardLink,
  DataQuery,
  Dashboard as GrafanaDashboard,
  Panel as GrafanaPanel,
  GraphFieldConfig,
  RowPanel,
  ThresholdsConfig,
  VariableModel,
} from '@grafana/schema';
import {
  BigValueColorMode,
  BigValueGraphMode,
  BigValueJustifyMode,
  BigValueTextMode,
  DashboardCursorSync,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  PercentChangeColorMode,
  SortOrder,
  ThresholdsMode,
  TooltipDisplayMode,
  VariableRefresh,
  VariableSort,
  VisibilityMode,
  VizOrientation,
} from '@grafana/schema';
import type { Options as HeatmapOptions } from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen.d.ts';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen.d.ts';
import type { Options as TimeSeriesOptions } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.d.ts';

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
const LINK: DashboardLink = {
  ...{ type: 'dashboards', title: 'Stampede', tags: ['stampede'], asDropdown: true, keepTime: true },
  ...{ icon: 'external link', tooltip: '', targetBlank: false, includeVars: false },
};

/** Of the Prometheus data source, which is not in the package. */
interface PrometheusQuery extends DataQuery {
  readonly expr: string;
  readonly legendFormat: string;
  readonly range: true;
  readonly format?: 'heatmap';
}

export function dashboardJson(dashboard: Dashboard): GrafanaDashboard {
  return {
    uid: dashboard.uid,
    title: dashboard.title,
    description: dashboard.description,
    tags: ['stampede'],
    schemaVersion: SCHEMA_VERSION,
    editable: false,
    // Points at a time: the crosshair is on all panels.
    graphTooltip: DashboardCursorSync.Crosshair,
    refresh: '15s',
    time: { from: 'now-1h', to: 'now' },
    templating: { list: variables(dashboard.byCoupon) },
    links: [LINK],
    panels: layOut(dashboard.rows),
  };
}

function variables(byCoupon: boolean): VariableModel[] {
  const labelValues = (name: string, label: string, query: string): VariableModel => ({
    ...{ name, label, type: 'query', datasource: DATASOURCE },
    query: { query, refId: name },
    ...{ includeAll: true, multi: true, allValue: '.*', sort: VariableSort.alphabeticalAsc },
    // Coupons come and go.
    refresh: VariableRefresh.onTimeRangeChanged,
    current: { selected: true, text: ['All'], value: ['$__all'] },
  });
  return [
    { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' },
    labelValues('instance', 'Instance', 'label_values(stampede_workers, instance)'),
    ...(byCoupon ? [labelValues('coupon', 'Coupon', 'label_values(stampede_coupon_stock, coupon)')] : []),
  ];
}

function layOut(rows: readonly Row[]): (GrafanaPanel | RowPanel)[] {
  const placed: (GrafanaPanel | RowPanel)[] = [];
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

function box(x: number, y: number, w: number, h: number) {
  return { x, y, w, h };
}

function panelJson(panel: Panel, id: number, gridPos: ReturnType<typeof box>): GrafanaPanel {
  const { title, description, unit, kind = 'timeseries', queries, threshold } = panel;
  const targets = queries.map(({ expr, legend }, index): PrometheusQuery => ({
    refId: String.fromCharCode('A'.charCodeAt(0) + index),
    ...{ expr, legendFormat: legend, range: true, datasource: DATASOURCE },
    ...(kind === 'heatmap' && { format: 'heatmap' }),
  }));
  return {
    ...{ id, type: kind, title, description, gridPos, datasource: DATASOURCE },
    targets: targets.map((target) => ({ ...target })),
    fieldConfig: {
      defaults: {
        unit,
        // A rate of next to nothing should not look like a storm.
        min: 0,
        thresholds: thresholdsOf(threshold),
        ...(kind === 'timeseries' && { custom: { ...curve(threshold !== undefined) } }),
      },
      overrides: [],
    },
    options: { ...optionsOf(kind, unit) },
  };
}

function thresholdsOf(limit: number | undefined): ThresholdsConfig {
  // Grafana writes its lowest step, minus infinity, as null, which its type does not know.
  const lowest = { color: 'green', value: null as unknown as number };
  return {
    mode: ThresholdsMode.Absolute,
    steps: limit === undefined ? [lowest] : [lowest, { color: 'red', value: limit }],
  };
}

function curve(hasLimit: boolean): GraphFieldConfig {
  const mode = hasLimit ? GraphThresholdsStyleMode.Line : GraphThresholdsStyleMode.Off;
  return { fillOpacity: 10, thresholdsStyle: { mode } };
}

// The package declares its enums twice, for `import` and for `require`; TypeScript takes one for the other.
/* eslint-disable @typescript-eslint/no-unsafe-enum-assignment */
function optionsOf(kind: NonNullable<Panel['kind']>, unit: Unit): StatOptions | HeatmapOptions | TimeSeriesOptions {
  switch (kind) {
    case 'stat':
      return {
        reduceOptions: { calcs: ['lastNotNull'] },
        ...{ colorMode: BigValueColorMode.Value, graphMode: BigValueGraphMode.Area, textMode: BigValueTextMode.Auto },
        ...{ justifyMode: BigValueJustifyMode.Auto, orientation: VizOrientation.Auto, wideLayout: true },
        ...{ showPercentChange: false, percentChangeColorMode: PercentChangeColorMode.Standard },
      } satisfies StatOptions;
    case 'heatmap':
      return {
        ...{ calculate: false, cellGap: 1, yAxis: { unit }, showValue: VisibilityMode.Never },
        color: { scheme: 'Oranges', steps: 64, exponent: 0.5, fill: 'dark-orange', reverse: false },
        legend: { show: true },
        tooltip: { mode: TooltipDisplayMode.Single },
        exemplars: { color: 'rgba(255,0,255,0.7)' },
      } satisfies HeatmapOptions;
    case 'timeseries':
      return {
        legend: { displayMode: LegendDisplayMode.List, placement: 'bottom', showLegend: true, calcs: [] },
        tooltip: { mode: TooltipDisplayMode.Multi, sort: SortOrder.Descending },
      } satisfies TimeSeriesOptions;
  }
}
