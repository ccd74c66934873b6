/** Everything that printing a value in any of the usual ways can bring to light. */
import { inspect } from 'node:util'

export function printed(value: unknown): string {
  const texts = [
    inspect(value, { depth: 10, showHidden: true }),
    inspect(value, { depth: 10, showHidden: true, customInspect: false }),
    inspect({ ...(value as object) }, { depth: 10 }),
    JSON.stringify(value) ?? '',
  ]
  for (let error = value; error instanceof Error; error = error.cause) {
    texts.push(String(error), error.stack ?? '')
  }
  return texts.join('\n')
}
