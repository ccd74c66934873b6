/** Prisma for the tests, with the generated client of the example. */
import type { Pool, PoolConfig } from 'pg'
import { prismaAdapter, prismaTransaction } from '../../adapters/prisma.js'
import { type Prisma, PrismaClient } from '../../examples/prisma/client/client.js'
import type { Login } from '../../core/index.js'
import type { Client, ClientEntry, Isolation, OpenClient, Statements } from './client.js'
import { holdClient, pgRefusals, poolOptions } from './pg.js'

const entry: ClientEntry<PoolConfig> = {
  name: 'prismaAdapter',
  options: poolOptions,
  open: openPrisma,
  refusesAt: 'construction',
  refusals: pgRefusals,
  own: 'survives',
  retiresIdle: true,
  takesAgedBack: true,
  reopensEarly: false,
}

export const client: Client = { name: 'prisma', entries: [entry] }

/** Prisma's defaults are two seconds to begin a transaction, and five for all of it. A loaded machine may need longer. */
const TRANSACTION_LIMITS = { maxWait: 120_000, timeout: 300_000 }

function openPrisma(login: Login, config: PoolConfig): OpenClient {
  const adapter = prismaAdapter(login, config)
  let pool: Pool | undefined
  const connect = adapter.connect.bind(adapter)
  // Prisma has no API for the pool of its adapter.
  adapter.connect = async () => {
    const connected = await connect()
    pool = connected.underlyingDriver()
    return connected
  }
  const { log } = config
  const prisma = new PrismaClient({
    adapter,
    transactionOptions: TRANSACTION_LIMITS,
    log: LEVELS.map((level) => ({ emit: 'event', level })),
  })
  for (const level of LEVELS) prisma.$on(level, (event) => log?.(JSON.stringify(event)))
  return {
    ...openClient(prisma),
    hold: async () => {
      await prisma.$connect()
      return holdClient(pool!)
    },
    objects: [prisma, adapter],
  }
}

const LEVELS = ['query', 'info', 'warn', 'error'] as const

export function openClient(prisma: PrismaClient): Omit<OpenClient, 'hold' | 'objects'> {
  const inTransaction = (own: Prisma.TransactionClient) => ({
    ...statementsOn(own),
    own,
    // Prisma (7.10) has savepoints, but not in its types.
    nested: <T>(work: (statements: Statements) => Promise<T>): Promise<T> =>
      (own as PrismaClient).$transaction((inner) => work(statementsOn(inner))),
  })
  return {
    ...statementsOn(prisma),
    transaction: (work, { isolation, ...retry } = {}) =>
      prismaTransaction(prisma, (own) => work(inTransaction(own)), {
        ...(isolation === undefined ? {} : { isolationLevel: ISOLATION_LEVELS[isolation] }),
        ...retry,
      }),
    ownTransaction: (work) => prisma.$transaction((own) => work(inTransaction(own))),
    transactionWithin: (own, work) => prismaTransaction(own as PrismaClient, work),
    close: () => prisma.$disconnect(),
  }
}

const ISOLATION_LEVELS = {
  'repeatable read': 'RepeatableRead',
  serializable: 'Serializable',
} as const satisfies Record<Isolation, string>

function statementsOn(prisma: Prisma.TransactionClient): Statements {
  return {
    run: async (text) => {
      if (RETURNS_ROWS.test(text) && !RETURNS_VOID.test(text))
        return prisma.$queryRawUnsafe<Record<string, unknown>[]>(text)
      await prisma.$executeRawUnsafe(text)
      return []
    },
    addNote: async (id, body) => {
      await prisma.note.create({ data: { id, ...(body === undefined ? {} : { body }) } })
    },
    findNote: async (id) => {
      const found = await prisma.note.findUnique({ where: { id } })
      return found?.body ?? undefined
    },
  }
}

const RETURNS_ROWS = /^\s*(?:select|show|with|fetch|values|table)\b|\breturning\b/i
/** Prisma (7.10) runs such a statement, and then fails because it has no type for its result. */
const RETURNS_VOID = /\bpg_(?:sleep|advisory_(?:xact_)?lock)\b/i
