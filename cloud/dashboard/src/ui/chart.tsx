// A time series on a canvas (uPlot): line, band between smallest and largest, gaps left empty and
// hatched, lost ranges as red bands. Dragging zooms. The canvas is one image to screen readers; the
// page gives its summary and the same numbers as a table.
import { useEffect, useRef, useState } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { nearest, type Plot, type Span } from '../logic/chart'
import { clock, moment } from '../logic/format'
import css from './chart.module.css'

export interface ChartProps {
  plot: Plot
  /** Ends of the x axis, milliseconds. */
  from: number
  to: number
  gaps: readonly Span[]
  lost: readonly Span[]
  /** Where the gateway had no clock. */
  estimated: readonly Span[]
  /** On and off only. */
  switched: boolean
  /** Values are drawn as steps. */
  stepped: boolean
  banded: boolean
  label: string
  show: (value: number) => string
  onZoom: (from: number, to: number) => void
}

const HEIGHT = 340
/** Loss of one record must be seen in a week, too. */
const NARROWEST_BAND = 4

/** The colour behind a custom property, as the canvas needs it: light-dark() resolved. */
function colour(name: string, at: HTMLElement): string {
  const probe = document.createElement('span')
  probe.style.color = `var(${name})`
  at.append(probe)
  const found = getComputedStyle(probe).color
  probe.remove()
  return found
}

function hatch(context: CanvasRenderingContext2D, ink: string): CanvasPattern | string {
  const tile = document.createElement('canvas')
  tile.width = 12
  tile.height = 12
  const pen = tile.getContext('2d')
  if (!pen) return ink
  pen.strokeStyle = ink
  pen.lineWidth = 1.2
  pen.beginPath()
  for (const x of [-12, 0, 12]) {
    pen.moveTo(x, 12)
    pen.lineTo(x + 12, 0)
  }
  pen.stroke()
  return context.createPattern(tile, 'repeat') ?? ink
}

interface Hover {
  left: number
  at: number
  index: number | undefined
  spans: Span[]
}

function columns(plot: Plot): uPlot.AlignedData {
  return [plot.x, plot.line, plot.max, plot.min] as uPlot.AlignedData
}

export function Chart(props: ChartProps) {
  const holder = useRef<HTMLDivElement>(null)
  const chart = useRef<uPlot>(undefined)
  const latest = useRef(props)
  latest.current = props
  const [hover, setHover] = useState<Hover>()
  const [scheme, setScheme] = useState(0)
  const { switched, stepped, banded } = props

  useEffect(() => {
    const again = () => setScheme((count) => count + 1)
    const system = matchMedia('(prefers-color-scheme: dark)')
    system.addEventListener('change', again)
    window.addEventListener('fogline-theme', again)
    return () => {
      system.removeEventListener('change', again)
      window.removeEventListener('fogline-theme', again)
    }
  }, [])

  useEffect(() => {
    const element = holder.current
    if (!element) return
    const names = ['--accent', '--band', '--muted', '--line', '--bad', '--warn']
    const [accent, band, muted, grid, bad, warn] = names.map((name) => colour(name, element)) as [
      string,
      string,
      string,
      string,
      string,
      string,
    ]

    const paint = (u: uPlot) => {
      const { ctx, bbox } = u
      const { gaps, lost, estimated } = latest.current
      const box = (span: Span) => {
        const x0 = Math.max(u.valToPos(span.from / 1000, 'x', true), bbox.left)
        const x1 = Math.min(u.valToPos(span.to / 1000, 'x', true), bbox.left + bbox.width)
        return { x0, width: x1 - x0 }
      }
      ctx.save()
      ctx.beginPath()
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height)
      ctx.clip()
      ctx.fillStyle = hatch(ctx, grid)
      for (const gap of gaps) {
        const { x0, width } = box(gap)
        if (width > 1) ctx.fillRect(x0, bbox.top, width, bbox.height)
      }
      const narrowest = NARROWEST_BAND * devicePixelRatio
      for (const span of estimated) {
        const { x0, width } = box(span)
        if (width < 0) continue
        const wide = Math.max(width, narrowest)
        ctx.fillStyle = warn
        ctx.globalAlpha = 0.1
        ctx.fillRect(x0, bbox.top, wide, bbox.height)
        ctx.globalAlpha = 1
        // A dashed edge: nobody looked at a clock here.
        const dash = 6 * devicePixelRatio
        for (let x = x0; x < x0 + wide; x += 2 * dash) {
          ctx.fillRect(x, bbox.top, Math.min(dash, x0 + wide - x), 3 * devicePixelRatio)
        }
      }
      for (const span of lost) {
        const { x0, width } = box(span)
        if (width < 0) continue
        const wide = Math.max(width, narrowest)
        ctx.fillStyle = bad
        ctx.globalAlpha = 0.17
        ctx.fillRect(x0, bbox.top, wide, bbox.height)
        ctx.globalAlpha = 1
        ctx.fillRect(x0, bbox.top, wide, 3 * devicePixelRatio)
      }
      ctx.restore()
    }

    const point = (u: uPlot) => {
      const left = u.cursor.left ?? -1
      if (left < 0) {
        setHover(undefined)
        return
      }
      const at = u.posToVal(left, 'x') * 1000
      const slack = Math.abs(u.posToVal(left + NARROWEST_BAND, 'x') * 1000 - at)
      const over = (span: Span) => span.from - slack <= at && at <= span.to + slack
      const { plot, gaps, lost, estimated } = latest.current
      const inLost = lost.filter(over)
      setHover({
        left,
        at,
        index: nearest(plot.x, at / 1000),
        spans: [
          ...(inLost.length > 0 ? inLost : gaps.filter((gap) => gap.from < at && at < gap.to)),
          ...estimated.filter(over),
        ],
      })
    }

    const zoomed = (u: uPlot) => {
      const { left, width } = u.select
      if (width < 4) return
      const from = u.posToVal(left, 'x') * 1000
      const to = u.posToVal(left + width, 'x') * 1000
      u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
      latest.current.onZoom(Math.round(from), Math.round(to))
    }

    const axis = {
      stroke: muted,
      grid: { stroke: grid, width: 1 },
      ticks: { show: false },
      font: '12px system-ui, sans-serif',
    }
    const steps = uPlot.paths.stepped?.({ align: 1 })
    const line: uPlot.Series = {
      stroke: accent,
      width: 1.6,
      points: { size: 4, fill: accent, stroke: accent },
      ...(stepped && steps ? { paths: steps } : {}),
    }
    const edge: uPlot.Series = { show: banded, stroke: 'transparent', points: { show: false } }
    const options: uPlot.Options = {
      width: element.clientWidth || 600,
      height: HEIGHT,
      legend: { show: false },
      padding: [12, 14, 0, 0],
      cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false } },
      scales: {
        x: { time: true, range: () => [latest.current.from / 1000, latest.current.to / 1000] },
        ...(switched ? { y: { range: [-0.1, 1.1] as [number, number] } } : {}),
      },
      series: [{}, line, edge, edge],
      ...(banded ? { bands: [{ series: [2, 3] as [number, number], fill: band }] } : {}),
      axes: [
        { ...axis, values: TIME_MARKS },
        {
          ...axis,
          size: 66,
          ...(switched
            ? { splits: [0, 1], values: ['off', 'on'] }
            : { values: (_u: uPlot, marks: number[]) => marks.map((mark) => MARK.format(mark)) }),
        },
      ],
      hooks: { drawClear: [paint], setCursor: [point], setSelect: [zoomed] },
    }
    const made = new uPlot(options, columns(latest.current.plot), element)
    chart.current = made
    const resized = new ResizeObserver(() => {
      made.setSize({ width: element.clientWidth, height: HEIGHT })
    })
    resized.observe(element)
    return () => {
      resized.disconnect()
      made.destroy()
      chart.current = undefined
    }
  }, [scheme, switched, stepped, banded])

  useEffect(() => {
    chart.current?.setData(columns(props.plot))
  }, [props.plot, props.from, props.to, props.gaps, props.lost, props.estimated])

  return (
    <div className={css.frame}>
      <div ref={holder} className={css.chart} role="img" aria-label={props.label} data-testid="chart" />
      {hover ? <Tip hover={hover} props={props} /> : null}
    </div>
  )
}

const MARK = new Intl.NumberFormat('en', { maximumSignificantDigits: 7, useGrouping: false })

/** 24-hour clock and ISO days, as everywhere on the page. */
const TIME_MARKS: uPlot.Axis.Values = [
  [86400, '{YYYY}-{MM}-{DD}', null, null, null, null, null, null, 1],
  [3600, '{HH}:{mm}', '\n{YYYY}-{MM}-{DD}', null, '\n{MM}-{DD}', null, null, null, 1],
  [60, '{HH}:{mm}', '\n{YYYY}-{MM}-{DD}', null, '\n{MM}-{DD}', null, null, null, 1],
  [1, '{HH}:{mm}:{ss}', '\n{YYYY}-{MM}-{DD}', null, '\n{MM}-{DD}', null, null, null, 1],
  [0.001, '{ss}.{fff}', '\n{HH}:{mm}', null, null, null, '\n{HH}:{mm}', null, 1],
]

function Tip({ hover, props }: { hover: Hover; props: ChartProps }) {
  const { plot, show, from, to, banded } = props
  const i = hover.index
  const value = i === undefined ? null : (plot.line[i] ?? null)
  const near = i !== undefined && Math.abs((plot.x[i] ?? 0) * 1000 - hover.at) < (to - from) / 40
  const [low, high] = i === undefined ? [null, null] : [plot.min[i] ?? null, plot.max[i] ?? null]
  const inside = holderSide(hover.left)
  return (
    <div className={`${css.tip} ${css[inside]}`} style={{ left: hover.left + 66 }} data-testid="tip">
      <span className={css.time}>{to - from > 86_400_000 ? moment(hover.at) : clock(hover.at)}</span>
      {near && value !== null ? <strong>{show(value)}</strong> : null}
      {near && banded && low !== null && high !== null && low !== high ? (
        <span className={css.time}>
          {show(low)} … {show(high)}
        </span>
      ) : null}
      {hover.spans.slice(0, 3).map((span) => (
        <span key={`${span.from}-${span.label}`} className={css.span}>
          <strong className={span.lost ? css.lost : undefined}>{span.label}</strong>
          <br />
          {span.detail}
        </span>
      ))}
    </div>
  )
}

/** The tip stands left of the pointer in the right part of the chart, so that it is never cut. */
const holderSide = (left: number) => (left > 320 ? 'before' : 'behind')
