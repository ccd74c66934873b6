import { createScreen, type Screen } from '../../examples/demo/screen.js'

interface Terminal {
  readonly screen: Screen
  written(): string
}

function terminal(stream: object = {}, env: Record<string, string> = {}): Terminal {
  let written = ''
  const write = (text: string): void => void (written += text)
  const large = { isTTY: true, columns: 80, rows: 24 }
  return { screen: createScreen({ ...large, write, ...stream }, env), written: () => written }
}

function show({ screen }: Terminal): void {
  screen.print(screen.paint.bold('title'))
  screen.repaint('one\ntwo')
  screen.repaint('three\nfour')
  screen.print(screen.paint.red('end'))
  screen.close()
}

describe('createScreen', () => {
  it('replaces each frame by the next one, and restores the cursor', () => {
    const large = terminal({}, { NO_COLOR: '1' })
    show(large)
    const frames = [
      'title\n',
      'one\ntwo\n',
      '\r\u001B[2A\u001B[Jthree\nfour\n',
      '\r\u001B[2A\u001B[Jend\n',
    ]
    expect(large.written()).toBe(['\u001B[?25l', ...frames, '\u001B[?25h'].join(''))
  })

  it('uses colours on a terminal', () => {
    const { screen } = terminal()
    expect(screen.paint.red('end')).toBe('\u001B[31mend\u001B[39m')
  })

  it.each([
    ['a pipe', { isTTY: false, columns: undefined, rows: undefined }, {}],
    ['a dumb terminal', {}, { TERM: 'dumb' }],
  ])('writes no escape codes and no frames to %s', (_case, stream, env) => {
    const plain = terminal(stream, env)
    show(plain)
    expect(plain.screen.isLive).toBe(false)
    expect(plain.written()).toBe('title\nend\n')
  })

  it.each([
    ['narrow', { columns: 79 }],
    ['low', { rows: 15 }],
  ])('does not repaint a terminal that is too %s for a frame', (_case, stream) => {
    const small = terminal(stream, { NO_COLOR: '1' })
    show(small)
    expect(small.written()).toBe('title\nend\n')
  })

  it('uses no colours if NO_COLOR is not empty', () => {
    expect(terminal({}, { NO_COLOR: '1' }).screen.paint.bold('title')).toBe('title')
    expect(terminal({}, { NO_COLOR: '' }).screen.paint.bold('title')).not.toBe('title')
  })
})
