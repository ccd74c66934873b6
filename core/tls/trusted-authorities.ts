/** The certificate authorities that are trusted where the caller names none. */
import { presentIn, type Environment } from '../options/common-options.js'

/**
 * Loads the authorities to trust for a cloud, whose documentation names `named`: resolves with `undefined` where Node ships them all,
 * for those that Node trusts by default; else with PEM text of these and of `named`.
 *
 * Node drops authorities in minor versions, when browsers do. Servers are not always replaced by then.
 */
export async function cloudAuthorities(
  named: readonly string[],
  env: Environment,
  shipped?: readonly string[],
): Promise<string | undefined> {
  const ships = new Set((shipped ?? (await loadTls()).rootCertificates).map(withoutBreaks))
  return named.every((pem) => ships.has(withoutBreaks(pem)))
    ? undefined
    : trustedAuthorities(named, env)
}

/**
 * Resolves with PEM text of `own` and of all that Node trusts by default, with what `NODE_EXTRA_CA_CERTS`, `--use-system-ca`,
 * `--use-openssl-ca` and `tls.setDefaultCACertificates()` add and replace. It is some 300 kB, and kept for all logins.
 */
export async function trustedAuthorities(
  own: readonly string[],
  env: Environment,
): Promise<string> {
  const { rootCertificates, getCACertificates } = await loadTls()
  const defaults = getCACertificates?.('default') ?? rootCertificates
  const extraFile = presentIn(env, 'NODE_EXTRA_CA_CERTS')
  const known = kept.get(own)
  if (known?.defaults === defaults && known.extraFile === extraFile) return known.pem
  const all = new Set([...own, ...defaults, ...certificatesIn(extraFile)])
  const pem = [...all].join('\n')
  kept.set(own, { defaults, extraFile, pem })
  return pem
}

const kept = new WeakMap<
  readonly string[],
  { defaults: readonly string[]; extraFile: string | undefined; pem: string }
>()

/** Not at import: to load it takes longer than all of the core. `getCACertificates` is there from Node 22.15 on. */
async function loadTls(): Promise<
  typeof import('node:tls') & { getCACertificates?: (type: 'default') => readonly string[] }
> {
  return import('node:tls')
}

/** Before 22.15 Node does not say what it has read of the file. It warns where it cannot read it. */
function certificatesIn(path: string | undefined): readonly string[] {
  if (path === undefined) return []
  try {
    return [process.getBuiltinModule('node:fs').readFileSync(path, 'utf8')]
  } catch {
    return []
  }
}

function withoutBreaks(pem: string): string {
  return pem.replaceAll(/\s/g, '')
}
