import { launchPostgres } from '../support/launch-postgres.js'
import { openClient } from '../clients/client.js'
import { client } from '../clients/typeorm.js'
import { describeResilience } from './describe-resilience.js'
import { startRig } from './rig.js'

describeResilience(client)

describe('typeormTransaction', () => {
  it('counts conflicts, and uses the retry options of the login, also with only the password function', async () => {
    const postgres = await launchPostgres({ roles: ['admin', 'app'] })
    const rig = await startRig(postgres)
    const withPassword = client.entries.find(({ connectsItself }) => connectsItself)!
    const login = rig.login({ retry: { maxAttempts: 2, baseDelayMs: 0 } })
    const opened = openClient(withPassword, login, 1)
    rig.gateway.faults.raiseConflicts()
    await opened.transaction((statements) => statements.addNote(1))
    expect(login.stats().conflictsRetried).toBe(1)
    rig.gateway.faults.raiseConflicts({ times: 5 })
    await expect(opened.transaction((statements) => statements.addNote(2))).rejects.toMatchObject({
      code: 'ERR_OCC_EXHAUSTED',
    })
    expect(login.stats().conflictsRetried).toBe(2)
    expect(await rig.notes()).toEqual([1])
    await opened.close()
    await rig.close()
    await postgres.close()
  })
})
