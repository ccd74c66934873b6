import { takeClusterId } from '../../../../gateway/auth/aurora-dsql/cluster-id.js'
import { CLUSTER, OTHER_CLUSTER, refusalOf, sdkToken, verdict } from './verifier-setting.js'

const idOf = (host: string): string => host.slice(0, host.indexOf('.'))

describe('takeClusterId', () => {
  it.each([
    ['-c amzn-cluster-id=abc', 'abc', undefined],
    ['-c  amzn-cluster-id=abc ', 'abc', undefined],
    ['-camzn-cluster-id=abc', 'abc', undefined],
    ['--amzn-cluster-id=abc', 'abc', undefined],
    ['-c amzn_cluster_id=abc', 'abc', undefined],
    ['-c search_path=shop -c amzn-cluster-id=abc', 'abc', '-c search_path=shop'],
    ['-c amzn-cluster-id=abc -c a=b', 'abc', '-c a=b'],
    ['-c amzn-cluster-id=one -c amzn-cluster-id=two', 'two', undefined],
    ['-c amzn-cluster-id=', '', undefined],
    ['-c a=b', undefined, '-c a=b'],
    [
      '-c application_name=x-c\\ amzn-cluster-id=abc',
      undefined,
      '-c application_name=x-c\\ amzn-cluster-id=abc',
    ],
  ])('takes of %p the ID %p', (options, clusterId, left) => {
    const given = new Map([
      ['application_name', 'shop'],
      ['options', options],
    ])
    const taken = takeClusterId(given)
    expect(taken.clusterId).toBe(clusterId)
    expect(taken.parameters.get('options')).toBe(left)
    expect(taken.parameters.get('application_name')).toBe('shop')
    expect(given.get('options')).toBe(options)
  })

  it('takes nothing of nothing', () => {
    expect(takeClusterId(new Map())).toEqual({ clusterId: undefined, parameters: new Map() })
  })
})

describe('a token of a client that names a cluster', () => {
  it('is accepted for that cluster', async () => {
    const token = await sdkToken()
    for (const servername of [CLUSTER, 'localhost', undefined])
      expect(verdict({ token, servername, clusterId: idOf(CLUSTER) })).toBe('accepted')
  })

  it('is refused for another, whatever was dialled', async () => {
    const token = await sdkToken()
    for (const servername of [CLUSTER, 'localhost', undefined])
      expect(verdict({ token, servername, clusterId: idOf(OTHER_CLUSTER) })).toBe('host-wrong')
    expect(refusalOf({ token, clusterId: idOf(OTHER_CLUSTER) })?.explanation).toBe(
      `the token is for ${CLUSTER}, and the client named the cluster "${idOf(OTHER_CLUSTER)}"`,
    )
  })
})
