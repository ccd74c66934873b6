/** Opens Prisma, with the generated client of the example, for the hostile servers. */
import { PrismaPg } from '@prisma/adapter-pg'
import { prismaAdapter, prismaTransaction } from '../../../adapters/prisma.js'
import { type Prisma, PrismaClient } from '../../../examples/prisma/client/client.js'
import {
  COPY_TEXT,
  EXTENDED_TEXT,
  type HostileClient,
  type OpenHostileClient,
  simpleText,
  valueOf,
} from './hostile-client.js'
import { bareConfig } from './pg.js'

export const client: HostileClient = {
  name: 'prisma',
  asksForTypes: false,
  describesFirst: false,
  leavesFailedStart: false,
  openOurs: (login) => {
    const prisma = clientOn(prismaAdapter(login, { max: 1 }))
    return openPrisma(prisma, (word) =>
      prismaTransaction(prisma, (own) => statementsOn(own).simple(word)),
    )
  },
  openBare: (login, connectTimeoutMs) => {
    const prisma = clientOn(new PrismaPg({ ...bareConfig(login, connectTimeoutMs), max: 1 }))
    return openPrisma(prisma, (word) =>
      prisma.$transaction((own) => statementsOn(own).simple(word)),
    )
  },
}

/** Prisma's own limits are a few seconds, which are too short where a test waits for a server. */
const transactionOptions = { maxWait: 120_000, timeout: 120_000 }

function clientOn(adapter: PrismaPg): PrismaClient {
  return new PrismaClient({ adapter, transactionOptions })
}

function openPrisma(
  prisma: PrismaClient,
  transaction: OpenHostileClient['transaction'],
): OpenHostileClient {
  return {
    ...statementsOn(prisma),
    transaction,
    copy: () => prisma.$executeRawUnsafe(COPY_TEXT),
    close: () => prisma.$disconnect(),
  }
}

function statementsOn(
  prisma: Prisma.TransactionClient,
): Pick<OpenHostileClient, 'simple' | 'extended'> {
  return {
    simple: async (word) => valueOf(await prisma.$queryRawUnsafe<unknown[]>(simpleText(word))),
    extended: async (word) => valueOf(await prisma.$queryRawUnsafe<unknown[]>(EXTENDED_TEXT, word)),
  }
}
