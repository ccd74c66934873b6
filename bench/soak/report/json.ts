/** The results as JSON, for who wants to compare runs. */
import type { SoakOptions } from '../soak-options.js'
import type { SoakResult } from '../run-soak.js'

export function resultJson({ json: _file, ...options }: SoakOptions, result: SoakResult): string {
  const clients = [...result.ends].map(([name, { report, exit, lastWords }]) => {
    if (report === undefined) return [name, { exit, lastWords }]
    const { outcomes, ...rest } = report
    const identifiers = outcomes.reduce((sum, one) => sum + one.outcomes.length, 0)
    return [name, { exit, lastWords, ...rest, identifiers }]
  })
  const { ends: _ends, ...rest } = result
  const content = { ...options, ...rest, clients: Object.fromEntries(clients) as object }
  return `${JSON.stringify(content, undefined, 2)}\n`
}
