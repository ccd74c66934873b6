import * as fc from 'fast-check'
import {
  dsqlEndpoint,
  dsqlRegion,
  isClusterId,
} from '../../../../core/providers/aurora-dsql/host.js'

const ID = 'abcdefghijklmnopqrstuvwx12'

describe('dsqlRegion', () => {
  it.each([
    [`${ID}.dsql.us-east-1.on.aws`, 'us-east-1'],
    [`${ID}.dsql-fnh4.eu-central-1.on.aws`, 'eu-central-1'],
    [`${ID}.dsql.ap-southeast-2.on.aws`, 'ap-southeast-2'],
    [`${ID}.dsql.us-gov-west-1.on.aws`, 'us-gov-west-1'],
    ['localhost', undefined],
    ['127.0.0.1', undefined],
    [ID, undefined],
    [`${ID}.dsql.us-east-1.on.aws.example.com`, undefined],
    [`${ID}.dsql.us-east-1.on.awsx`, undefined],
    [`${ID}.dsqlx.us-east-1.on.aws`, undefined],
    [`${ID}.dsql-.us-east-1.on.aws`, undefined],
    [`evil.com/${ID}.dsql.us-east-1.on.aws`, undefined],
    [`a.b.dsql.us-east-1.on.aws`, undefined],
    [`.dsql.us-east-1.on.aws`, undefined],
    [`${ID}.dsql..on.aws`, undefined],
    ['mydb.123456789012.us-east-1.rds.amazonaws.com', undefined],
    [`${ID}.dsql.us-east-1.on.aws\n`, undefined],
  ])('finds in %s: %s', (host, region) => {
    expect(dsqlRegion(host)).toBe(region)
  })
})

describe('isClusterId', () => {
  it.each([
    [ID, true],
    ['a'.repeat(25), false],
    ['a'.repeat(27), false],
    ['A'.repeat(26), false],
    [`${'a'.repeat(25)}-`, false],
    [`${ID}\n`, false],
  ])('says of %j: %s', (name, is) => {
    expect(isClusterId(name)).toBe(is)
  })
})

describe('dsqlEndpoint', () => {
  it('makes a name whose region is found again', () => {
    const ids = fc.string({
      unit: fc.constantFrom('a', 'b', 'z', '0', '9'),
      minLength: 26,
      maxLength: 26,
    })
    const regions = fc.constantFrom('us-east-1', 'eu-west-3', 'ap-northeast-1', 'us-gov-east-1')
    fc.assert(
      fc.property(ids, regions, (id, region) => dsqlRegion(dsqlEndpoint(id, region)) === region),
    )
  })
})
