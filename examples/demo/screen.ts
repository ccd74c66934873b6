/** The output of the demo: a terminal whose last lines are repainted, or a plain stream of lines. */
import { createPaint, type Paint } from './paint.js'

export interface Screen {
  readonly paint: Paint
  /** Whether `repaint` has an effect. */
  readonly isLive: boolean
  /** Writes text after the printed text, in place of the last frame. */
  print(text: string): void
  /** Replaces the last frame by a new one, if the terminal is large enough. */
  repaint(frame: string): void
  /** Restores the terminal. */
  close(): void
}

export interface ScreenStream {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
}

const WIDTH = 80
const HEIGHT = 16

/** No escape codes or repainting if the stream is not a terminal, or a dumb or small one. No colours with NO_COLOR. */
export function createScreen(
  stream: ScreenStream,
  env: Readonly<Record<string, string | undefined>>,
): Screen {
  const { columns = 0, rows = 0 } = stream
  const isTerminal = stream.isTTY === true && env['TERM'] !== 'dumb'
  const isLive = isTerminal && columns >= WIDTH && rows >= HEIGHT
  const hasNoColor = env['NO_COLOR'] !== undefined && env['NO_COLOR'] !== ''
  let lines = 0
  // The carriage return covers what the terminal echoed, such as ^C.
  const erase = (): string => (lines === 0 ? '' : `\r\u001B[${lines}A\u001B[J`)
  if (isLive) stream.write(HIDE_CURSOR)
  return {
    paint: createPaint(isTerminal && !hasNoColor),
    isLive,
    print(text) {
      stream.write(`${erase()}${text}\n`)
      lines = 0
    },
    repaint(frame) {
      if (!isLive) return
      stream.write(`${erase()}${frame}\n`)
      lines = frame.split('\n').length
    },
    close() {
      if (isLive) stream.write(SHOW_CURSOR)
    },
  }
}

const HIDE_CURSOR = '\u001B[?25l'
const SHOW_CURSOR = '\u001B[?25h'
