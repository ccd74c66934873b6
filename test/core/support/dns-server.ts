/** A DNS server on loopback, and a resolver that uses it. */
import { createSocket, type RemoteInfo } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { decode, encode, type Answer } from 'dns-packet'

/** The records of a name: a CNAME, an address, or none; `SERVFAIL` for a failing server. */
export type Zone = Readonly<Record<string, { cname: string } | { a: string } | 'SERVFAIL'>>

export interface DnsServer {
  readonly resolver: Resolver
  /** The queries so far, as `CNAME db.example`. */
  readonly questions: string[]
  /** Sets the records to answer with. */
  serve(zone: Zone): void
  close(): Promise<void>
}

export async function startDnsServer(first: Zone = {}): Promise<DnsServer> {
  let zone = first
  const questions: string[] = []
  const socket = createSocket('udp4')
  socket.on('message', (message: Buffer, from: RemoteInfo) => {
    const { id, questions: asked = [] } = decode(message)
    const [question] = asked
    if (question === undefined) return
    questions.push(`${question.type} ${question.name}`)
    const entry = zone[question.name.toLowerCase()]
    const reply = encode({
      type: 'response',
      ...(id === undefined ? {} : { id }),
      flags: entry === undefined ? NXDOMAIN : entry === 'SERVFAIL' ? SERVFAIL : NOERROR,
      questions: asked,
      answers: answersTo(question, entry),
    })
    socket.send(reply, from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const resolver = new Resolver({ timeout: 1_000, tries: 1 })
  resolver.setServers([`127.0.0.1:${socket.address().port}`])
  return {
    resolver,
    questions,
    serve: (next) => {
      zone = next
    },
    async close() {
      resolver.cancel()
      socket.close()
      await once(socket, 'close')
    },
  }
}

const NOERROR = 0x0180
const SERVFAIL = NOERROR | 2
const NXDOMAIN = NOERROR | 3

/** A name with an address has no CNAME record, so the reply to such a query is empty. */
function answersTo(
  { name, type }: { name: string; type: string },
  entry: Zone[string] | undefined,
): Answer[] {
  if (entry === undefined || entry === 'SERVFAIL') return []
  if ('cname' in entry) return [{ type: 'CNAME', name, ttl: 5, data: entry.cname }]
  return type === 'A' ? [{ type: 'A', name, ttl: 5, data: entry.a }] : []
}
