/** What an application on pg-iam lives through, shown on the real client and a real PostgreSQL. */
import { launchPostgres, type PostgresServer } from '../support/postgres/launch-postgres.js'
import type { ResilientClient } from './clients/resilient-client.js'
import { describeKills } from './kills/describe-kills.js'
import type { PostgresPlace } from './rig.js'
import { createSectionContext, type SectionContext } from './section-context.js'
import { describeConflicts } from './sections/conflicts.js'
import { describeLifetimes } from './sections/lifetimes.js'
import { describePace } from './sections/pace.js'
import { describeRealConflicts } from './sections/real-conflicts.js'
import { describeRegions } from './sections/regions.js'

const SECTIONS: readonly (readonly [title: string, describe: (context: SectionContext) => void])[] =
  [
    ['conflicts', describeConflicts],
    ['real conflicts', describeRealConflicts],
    ['lifetimes', describeLifetimes],
    ['regions', describeRegions],
    ['pace', describePace],
  ]

export function describeResilience(client: ResilientClient): void {
  describe(`resilience of ${client.name}`, () => {
    let postgres: PostgresServer

    beforeAll(async () => {
      postgres = await launchPostgres({ roles: ['admin', 'app'] })
    })

    afterAll(() => postgres.close())

    describe.each(client.entries)('$name', (entry) => {
      describe('dying connections', () => {
        describeKills(client, entry, () => placeOf(postgres))
      })
      describe.each(SECTIONS)('%s', (_title, describeSection) => {
        describeSection(createSectionContext(client, entry, () => placeOf(postgres)))
      })
    })
  })
}

/** What can be sent to another process: the server itself has functions. */
function placeOf({ socketDirectory, port, database, superuser }: PostgresServer): PostgresPlace {
  return { socketDirectory, port, database, superuser }
}
