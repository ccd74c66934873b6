/** All output of the usual ways to print a value. */
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
