/** `pg-iam login`, `logout` and `whoami`. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { isPgIamError } from '../core/errors.js'
import type { SavedSignIn } from '../sign-in/command-line.js'
import { signInFile } from '../sign-in/session-store.js'
import type { CommandContext } from './command-context.js'
import { CommandError, ExitCode, usageError } from './failure.js'
import { table } from './output.js'
import { openSignIn, otherSource } from './saved-sign-in.js'

export async function runLogin({ flags, io, printer, isJson }: CommandContext): Promise<number> {
  const [issuer, clientId] = [flags['issuer'], flags['client-id']] as (string | undefined)[]
  if (issuer === undefined || clientId === undefined) {
    throw usageError(
      `"--${issuer === undefined ? 'issuer' : 'client-id'}" must be given`,
      '--issuer is the URL of the identity provider. --client-id is the ID of a public client that is registered there.',
    )
  }
  const scopes = flags['scope'] as readonly string[] | undefined
  const settings = Object.fromEntries(
    ['role', 'region', 'sts-endpoint'].flatMap((name) =>
      flags[name] === undefined ? [] : [[name, flags[name] as string]],
    ),
  )
  const signIn = await openSignIn(io.env)
  const saved = await signIn.signIn(
    { issuer, clientId, settings, ...(scopes === undefined ? {} : { scopes }) },
    flags['device'] === true
      ? {
          showCode: ({ userCode, verificationUri, verificationUriComplete }) => {
            printer.note(
              `open ${verificationUriComplete ?? verificationUri} on any device, and confirm the code ${userCode}`,
            )
          },
        }
      : {
          open(url) {
            printer.note(`sign in in the browser; if none opens, go to ${url}`)
            openBrowser(url, io.env)
          },
        },
  )
  printer.result(isJson ? JSON.stringify(shown(saved)) : `signed in as ${nameOf(saved)}`)
  return ExitCode.ok
}

export async function runLogout({ io, printer, isJson }: CommandContext): Promise<number> {
  let wasSignedIn = false
  try {
    wasSignedIn = existsSync(signInFile(io.env)) && (await (await openSignIn(io.env)).signOut())
  } catch (error) {
    const isOfProvider =
      isPgIamError(error) && /^ERR_SIGN_IN_(?:UNAVAILABLE|INVALID|DENIED)$/.test(error.code)
    if (!isOfProvider) throw error
    // They are deleted here, whether or not the provider can be reached.
    printer.warn(`the tokens could not be revoked: ${(error as Error).message}`)
    wasSignedIn = true
  }
  const text = wasSignedIn ? 'signed out' : 'nobody was signed in'
  printer.result(isJson ? JSON.stringify({ wasSignedIn }) : text)
  return ExitCode.ok
}

export async function runWhoami({ io, printer, isJson }: CommandContext): Promise<number> {
  const saved = existsSync(signInFile(io.env))
    ? await (await openSignIn(io.env)).saved()
    : undefined
  if (saved === undefined) {
    throw new CommandError('nobody is signed in', {
      exitCode: ExitCode.noToken,
      hint: 'Run: pg-iam login --issuer URL --client-id ID',
    })
  }
  // Says now if the session at the provider is over, instead of at the next login.
  await saved.identity.idToken()
  const fields = shown((await (await openSignIn(io.env)).saved()) ?? saved)
  printer.result(isJson ? JSON.stringify(fields) : table(fields))
  const other = otherSource(io.env)
  if (other !== undefined)
    printer.warn(`commands use the credentials of ${other} instead of this sign-in`)
  return ExitCode.ok
}

function shown({
  profile,
  signedInAt,
  tokensExpireAt,
  identity,
}: SavedSignIn): Record<string, string> {
  const { role, region } = profile.settings ?? {}
  return {
    user: nameOf({ identity }),
    subject: identity.subject,
    issuer: profile.issuer,
    client: profile.clientId,
    ...(role === undefined ? {} : { role }),
    ...(region === undefined ? {} : { region }),
    'signed in': signedInAt.toISOString(),
    'tokens until': tokensExpireAt.toISOString(),
  }
}

function nameOf({ identity: { claims, subject } }: Pick<SavedSignIn, 'identity'>): string {
  const name = claims['email'] ?? claims['preferred_username'] ?? claims['name']
  return typeof name === 'string' ? name : subject
}

/** In the background, without its output. That there is no browser is no error: the address was printed. */
function openBrowser(url: string, env: Readonly<Record<string, string | undefined>>): void {
  const [program, ...parameters] =
    env['BROWSER'] !== undefined && env['BROWSER'] !== ''
      ? [env['BROWSER']]
      : process.platform === 'darwin'
        ? ['open']
        : process.platform === 'win32'
          ? ['rundll32', 'url.dll,FileProtocolHandler']
          : ['xdg-open']
  spawn(program!, [...parameters, url], { stdio: 'ignore', detached: true })
    .on('error', () => {})
    .unref()
}
