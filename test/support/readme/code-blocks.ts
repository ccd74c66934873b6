/** The programs in a Markdown file. */

export interface CodeBlock {
  /** The heading above it. */
  readonly heading: string
  readonly line: number
  readonly code: string
}

/** The fenced blocks of one language, in order. */
export function codeBlocks(markdown: string, language: string): CodeBlock[] {
  const blocks: CodeBlock[] = []
  let heading = ''
  let open: { line: number; lines: string[] } | undefined
  for (const [index, line] of markdown.split('\n').entries()) {
    if (open !== undefined && line === '```') {
      blocks.push({ heading, line: open.line, code: open.lines.join('\n') })
      open = undefined
    } else if (open !== undefined) open.lines.push(line)
    else if (line === '```' + language) open = { line: index + 1, lines: [] }
    else if (line.startsWith('#')) heading = line.replace(/^#+ /, '')
  }
  return blocks
}
