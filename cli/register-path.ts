/** `pg-iam register-path`: `pg-iam/register` as an address that Node finds from any folder. */
import type { CommandContext } from './command-context.js'

/** An address, not a path: it has no spaces, so that it is one word in `NODE_OPTIONS`. */
export async function runRegisterPath({ printer, isJson }: CommandContext): Promise<number> {
  const url = new URL('../register/index.js', import.meta.url).href
  printer.result(isJson ? JSON.stringify({ url }) : url)
  return 0
}
