import { auroraDsql, rds } from '../../../core/index.js'
import { OPTIONS } from '../../core/support/dsql-options.js'
import { RDS_OPTIONS } from '../../core/support/rds-options.js'
import { watchSignatures } from './signed-tokens.js'

describe('watchSignatures', () => {
  it('returns exactly the signatures of the tokens', async () => {
    const signatures = watchSignatures()
    const tokens = [
      await auroraDsql(OPTIONS).password(),
      await rds(RDS_OPTIONS).password(),
      await auroraDsql({ ...OPTIONS, user: 'admin' }).password(),
    ]
    expect(signatures()).toHaveLength(3)
    for (const [index, token] of tokens.entries())
      expect(token).toContain(`X-Amz-Signature=${signatures()[index]}&`)
  })
})
