/** The resilience of an application on pg-iam, tested with the real client and a real PostgreSQL. */
import { launchPostgres, type PostgresServer } from '../support/launch-postgres.js'
import type { Client } from '../clients/client.js'
import { describeKills } from './kills/describe-kills.js'
import type { PostgresPlace } from './rig.js'
import { createSectionContext, type SectionContext } from './section-context.js'
import { describeConflicts } from './sections/conflicts.js'
import { describeLifetimes } from './sections/lifetimes.js'
import { describePace } from './sections/pace.js'
import { describeRealConflicts } from './sections/real-conflicts.js'
import { describeRegions } from './sections/regions.js'

type Describe = (context: SectionContext) => void

interface Section {
  readonly title: string
  readonly describes: readonly Describe[]
}

/** Connections retire in the pool, which each entry configures differently. */
const SECTIONS_OF_ENTRY: readonly Section[] = [
  { title: 'promise 9: connections are replaced at a random age', describes: [describeLifetimes] },
]

/** By the number of the promise, as in the contract's table. The others are the same for every entry of a client. */
const SECTIONS_OF_CLIENT: readonly Section[] = [
  {
    title: 'promise 8: conflicts are recognized, and the outermost transaction is retried',
    describes: [describeConflicts, describeRealConflicts],
  },
  { title: 'regions: the first endpoint that answers', describes: [describeRegions] },
  { title: 'pace: connections at the rate that the server admits', describes: [describePace] },
]

/**
 * The part of the contract that needs a PostgreSQL whose backends can be killed. All entries of a client get the same driver with the same
 * socket, so `npm test` kills backends of the first one only, `npm run test:contract` of each.
 */
export function describeResilience(client: Client): void {
  // Those that the client opens itself are not ours to protect.
  const entries = client.entries.filter(({ connectsItself }) => connectsItself !== true)
  describe(`contract of ${client.name}`, () => {
    describe('with aurora-dsql', () => {
      describe('on PostgreSQL', () => {
        let postgres: PostgresServer

        beforeAll(async () => {
          postgres = await launchPostgres({ roles: ['admin', 'app'] })
        })

        afterAll(() => postgres.close())

        describe.each(entries)('$name', (entry) => {
          const isFirst = entry === entries[0]
          if (isFirst || process.env['PG_IAM_TIER'] === 'contract') {
            describe('promise 5: a killed backend affects nothing else', () => {
              describeKills(client, entry, () => placeOf(postgres))
            })
          }
          const sections = [...SECTIONS_OF_ENTRY, ...(isFirst ? SECTIONS_OF_CLIENT : [])]
          describe.each(sections)('$title', ({ describes }) => {
            for (const describeSection of describes)
              describeSection(createSectionContext(client, entry, () => placeOf(postgres)))
          })
        })
      })
    })
  })
}

/** The parts that can be sent to another process. The server itself has functions. */
function placeOf({ socketDirectory, port, database, superuser }: PostgresServer): PostgresPlace {
  return { socketDirectory, port, database, superuser }
}
