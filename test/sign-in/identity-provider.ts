/** A real OpenID provider in a separate process, and a client that keeps cookies like a browser. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export interface ProviderProcess {
  readonly issuer: string
  /** Puts its clock forward. */
  advance(ms: number): void
  /** Ends it. */
  close(): Promise<void>
}

/** @param clockOffsetSecs by how much its clock is fast */
export async function startProvider(
  options: object,
  { clockOffsetSecs = 0 }: { clockOffsetSecs?: number } = {},
): Promise<ProviderProcess> {
  const file = join(process.cwd(), 'build/examples/redshift-dashboard/identity-provider.js')
  const clock = `const real = Date.now; let ahead = ${clockOffsetSecs * 1_000}; Date.now = () => real() + ahead; process.on('message', (ms) => { ahead += ms }); process.channel.unref()`
  const child: ChildProcess = spawn(
    process.execPath,
    [
      '--import',
      `data:text/javascript,${encodeURIComponent(clock)}`,
      file,
      JSON.stringify(options),
    ],
    { stdio: ['ignore', 'pipe', 'ignore', 'ipc'] },
  )
  const [line] = (await once(child.stdout!.setEncoding('utf8'), 'data')) as [string]
  return {
    issuer: line.trim(),
    advance: (ms) => void child.send(ms),
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill()
      await once(child, 'close')
    },
  }
}

/** Follows redirects within the provider, keeps cookies, and calls the application's handlers as a server would. */
export class Browser {
  readonly #cookies = new Map<string, Map<string, string>>()

  /** A request of this browser, with its cookies. */
  request(url: string, init: RequestInit = {}): Request {
    const headers = new Headers(init.headers)
    const cookies = [...(this.#cookies.get(new URL(url).origin) ?? [])]
    if (cookies.length > 0)
      headers.set('cookie', cookies.map(([name, value]) => `${name}=${value}`).join('; '))
    return new Request(url, { ...init, headers, redirect: 'manual' })
  }

  /** Keeps the cookies of a response. */
  keep(url: string, response: Response): Response {
    const { origin } = new URL(url)
    const jar = this.#cookies.get(origin) ?? new Map<string, string>()
    this.#cookies.set(origin, jar)
    for (const cookie of response.headers.getSetCookie()) {
      const [pair = ''] = cookie.split(';')
      const end = pair.indexOf('=')
      if (/Max-Age=0|Expires=Thu, 01 Jan 1970/i.test(cookie)) jar.delete(pair.slice(0, end))
      else jar.set(pair.slice(0, end), pair.slice(end + 1))
    }
    return response
  }

  cookies(origin: string): ReadonlyMap<string, string> {
    return this.#cookies.get(origin) ?? new Map()
  }

  setCookie(origin: string, name: string, value: string): void {
    this.#cookies.set(origin, new Map([...this.cookies(origin), [name, value]]))
  }

  forget(origin: string): void {
    this.#cookies.delete(origin)
  }

  async fetch(url: string, init?: RequestInit): Promise<Response> {
    return this.keep(url, await fetch(this.request(url, init)))
  }

  /** Signs in at the provider as `user`, or denies. Resolves with the address of the callback. */
  async signInAtProvider(authorizationUrl: string, user: string | undefined): Promise<string> {
    let url = authorizationUrl
    for (let step = 0; step < 10; step++) {
      const response = await this.fetch(url)
      const location = response.headers.get('location')
      if (location !== null) {
        const next = new URL(location, url)
        if (next.origin !== new URL(authorizationUrl).origin) return next.href
        url = next.href
        continue
      }
      const body = new URLSearchParams(user === undefined ? { deny: 'yes' } : { user })
      const posted = await this.fetch(url, { method: 'POST', body })
      url = new URL(posted.headers.get('location') ?? '', url).href
      if (new URL(url).origin !== new URL(authorizationUrl).origin) return url
    }
    throw new Error('the provider did not send the browser back')
  }
}
