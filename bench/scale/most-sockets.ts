/** How many connections a process may have. */

/** What the system allows, but for some that a process has anyway. Node has raised the soft limit to the hard one. */
export function mostSockets(): number {
  const { userLimits } = process.report.getReport() as unknown as UserLimits
  const { soft } = userLimits?.open_files ?? { soft: 'unlimited' }
  return soft === 'unlimited' ? Infinity : soft - OTHERS
}

/** Missing on Windows, which has no such limit. */
interface UserLimits {
  readonly userLimits?: { readonly open_files: { readonly soft: number | 'unlimited' } }
}

const OTHERS = 100
