/** `pg-iam doctor`: what is wrong with one login, and the likeliest cause. */
import type { CommandContext } from './command-context.js'
import { causesOf, grantsFor } from './doctor-causes.js'
import { ExitCode } from './failure.js'
import { credentialsOf, examine, type Step } from './login-walk.js'
import { resolveTarget } from './target.js'
import { table } from './output.js'

export async function runDoctor(context: CommandContext): Promise<number> {
  const { io, targets, targetFlags, configuration, printer, loginLogger, isJson } = context
  const target = resolveTarget(targets[0], {
    flags: targetFlags,
    configuration,
    env: io.env,
    logger: loginLogger,
  })
  const { resolveCname } = await import('node:dns/promises')
  const deps = { now: Date.now, fetch: globalThis.fetch, resolveCname, credentials: credentialsOf }
  const findings = await examine(target, { env: io.env, cwd: io.cwd }, deps, (step) => {
    if (!isJson) printer.result(shownStep(step))
  })
  const failed = findings.steps.find(({ state }) => state === 'failed')
  const causes = failed === undefined ? [] : causesOf(findings, failed)
  const grants = grantsFor(findings)
  if (isJson) {
    const { steps } = findings
    printer.result(JSON.stringify({ isHealthy: failed === undefined, steps, causes, grants }))
  } else {
    if (causes.length > 0)
      printer.result(
        [
          '',
          'Likely causes, the likeliest first:',
          ...causes.map(({ cause, remedy }, index) => `${index + 1}. ${cause}\n   ${remedy}`),
        ].join('\n'),
      )
    printer.result(['', 'What this login needs:', '', grants].join('\n'))
  }
  return failed === undefined ? ExitCode.ok : (failed.failure?.exitCode ?? ExitCode.failed)
}

function shownStep({ name, state, found, failure }: Step): string {
  const head = `${{ ok: 'ok  ', warning: 'WARN', failed: 'FAIL', skipped: '-   ' }[state]} ${name}`
  const lines = Object.keys(found).length === 0 ? [] : table(found).split('\n')
  const hint = failure?.hint === undefined ? [] : [failure.hint]
  return [head, ...lines, ...(failure === undefined ? [] : [failure.message, ...hint])].join(
    '\n     ',
  )
}
