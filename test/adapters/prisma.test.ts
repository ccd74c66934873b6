import { prismaAdapter, prismaTransaction } from '../../adapters/prisma.js'
import { isPgIamError, type Login } from '../../core/index.js'
import { type Prisma, PrismaClient } from '../../examples/prisma/client/client.js'
import { client } from '../clients/prisma.js'
import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { errorChain, rejectionOf } from '../support/adapter-contract/error-chain.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { eventually } from '../support/eventually.js'

describeAdapterContract(client)

const opened: PrismaClient[] = []

function open(login: Login, options: Partial<Prisma.PrismaClientOptions> = {}): PrismaClient {
  const adapter = prismaAdapter(login, { max: 1 })
  const prisma = new PrismaClient({ ...options, adapter } as Prisma.PrismaClientOptions)
  opened.push(prisma)
  return prisma
}

afterEach(() => Promise.all(opened.splice(0).map((prisma) => prisma.$disconnect())))

describe('prismaAdapter', () => {
  const server = useContractServer()

  it('rejects an option of PrismaPg among those of the pool, where it would have no effect', () => {
    expect(() => prismaAdapter(server().login(), { schema: 'shop' } as object)).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        hint: expect.stringContaining('third argument') as string,
      }),
    )
  })

  it('passes on the options of PrismaPg', async () => {
    const adapter = await prismaAdapter(server().login(), {}, { schema: 'shop' }).connect()
    expect(adapter.getConnectionInfo()).toMatchObject({ schemaName: 'shop' })
    await adapter.dispose()
  })

  it('connects again after the client was disconnected', async () => {
    const login = server().login()
    const prisma = open(login)
    for (let time = 1; time <= 2; time++) {
      expect(await prisma.$queryRaw`SELECT 1 AS one`).toEqual([{ one: 1 }])
      await prisma.$disconnect()
    }
    expect(login.stats().connectionsOpened).toBe(2)
  })

  it('has no shadow database, which would be the database of the login', async () => {
    const login = server().login()
    const error = await rejectionOf(prismaAdapter(login).connectToShadowDb())
    expect(isPgIamError(error, 'ERR_OPTION_CONFLICT')).toBe(true)
    expect(login.stats().tokensMade).toBe(0)
  })

  it('has the original error of a connection in the meta of the error of Prisma', async () => {
    const original = new Error('no credentials today')
    const login = server().login({ credentials: () => Promise.reject(original) })
    const error = await rejectionOf(open(login).note.findMany())
    expect(error).toMatchObject({
      name: 'PrismaClientKnownRequestError',
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      meta: { cause: expect.objectContaining({ code: 'ERR_CREDENTIALS_UNAVAILABLE' }) },
    })
    expect(errorChain(error)).toContain(original)
  })
})

describe('a backend that is killed between two statements', () => {
  const server = useContractServer()

  it.each(['$transaction', 'prismaTransaction'])(
    "has the server's error in the meta of the errors in %s",
    async (name) => {
      const login = server().login()
      const prisma = open(login)
      const errors: unknown[] = []
      const work = async (own: Prisma.TransactionClient): Promise<void> => {
        await own.note.count()
        server().gateway.faults.killSession(server().gateway.faults.sessions()[0]!.processId)
        await eventually('the connection to be lost', () => login.stats().connectionsOpen === 0)
        errors.push(await rejectionOf(own.$queryRaw`SELECT 1`))
        errors.push(await rejectionOf(own.note.findMany()))
        throw errors[0]
      }
      const run =
        name === '$transaction' ? prisma.$transaction(work) : prismaTransaction(prisma, work)
      const end = await rejectionOf(run)
      for (const error of errors)
        expect(error).toMatchObject({
          name: 'PrismaClientKnownRequestError',
          code: 'P1017',
          meta: { cause: expect.objectContaining({ severity: 'FATAL', code: '57P01' }) },
        })
      // The transaction function rejects with that error itself.
      expect(end).toMatchObject({ code: name === '$transaction' ? 'P1017' : '57P01' })
      expect(await prisma.$queryRaw`SELECT 1 AS one`).toEqual([{ one: 1 }])
    },
  )
})

describe('prismaTransaction', () => {
  const server = useContractServer()

  it.each<[object, object]>([
    [
      { isolationLevel: 'serializable' },
      { message: expect.stringContaining('"isolationLevel" must be "ReadUncommitted" or') },
    ],
    [{ timeout: 0 }, { message: expect.stringContaining('"timeout" must be a number') }],
    [{ maxwait: 5 }, { hint: 'Did you mean "maxWait"?' }],
    [{ maxAttempt: 5 }, { hint: 'Did you mean "maxAttempts"?' }],
  ])('rejects %j before anything runs', async (options, expected) => {
    const login = server().login()
    const error = await rejectionOf(prismaTransaction(open(login), async () => {}, options))
    expect(error).toMatchObject({ code: 'ERR_OPTION_INVALID', ...expected })
    expect(login.stats().tokensMade).toBe(0)
  })

  it('recognizes a client that is derived from the one whose transaction is running', async () => {
    const prisma = open(server().login())
    const derived = prisma.$extends({ name: 'derived' })
    const error = await prismaTransaction(prisma, () =>
      rejectionOf(prismaTransaction(derived, async () => {})),
    )
    expect(isPgIamError(error, 'ERR_TRANSACTION_NESTED')).toBe(true)
  })

  it('retries with a client that is derived by $extends()', async () => {
    const login = server().login()
    const derived = open(login).$extends({ model: { note: { word: () => 'note' } } })
    server().gateway.faults.raiseConflicts({ times: 1 })
    const words: string[] = []
    await prismaTransaction(
      derived,
      async (transaction) => {
        words.push(transaction.note.word())
        await transaction.$queryRaw`SELECT 1`
      },
      { baseDelayMs: 0 },
    )
    expect(words).toEqual(['note', 'note'])
    expect(login.stats().conflictsRetried).toBe(1)
  })

  it('does not retry a transaction that Prisma ended after its time limit', async () => {
    const prisma = open(server().login())
    let runs = 0
    const error = await rejectionOf(
      prismaTransaction(
        prisma,
        async (transaction) => {
          runs++
          await eventually('Prisma to end the transaction', () =>
            transaction.$queryRaw`SELECT 1`.then(
              () => false,
              () => true,
            ),
          )
        },
        { timeout: 50 },
      ),
    )
    expect(error).toMatchObject({ code: 'P2028' })
    expect(runs).toBe(1)
    expect(await prisma.$queryRaw`SELECT 1 AS one`).toEqual([{ one: 1 }])
  })

  it('releases a connection that it got after the time limit of Prisma', async () => {
    const prisma = open(server().login())
    let release = (): void => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    const first = prismaTransaction(prisma, () => held)
    const late = await rejectionOf(prismaTransaction(prisma, async () => {}, { maxWait: 50 }))
    expect(late).toMatchObject({ code: 'P2028' })
    release()
    await first
    expect(await prisma.$queryRaw`SELECT 1 AS one`).toEqual([{ one: 1 }])
  })
})
