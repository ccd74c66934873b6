/** All goals, in the order of the page. They were set before the figures were measured. */
import { connectionsAtOnce, connectionsOneByOne } from './connects.js'
import { connectsThroughGateway, queriesThroughGateway, tokenChecks } from './gateway.js'
import type { Goal } from './goal.js'
import {
  connectionsByNumber,
  externalOverConnections,
  externalOverTokens,
  heapOverConnections,
  heapOverTokens,
  makingOfManyLogins,
  ownPartOfConnections,
  tokensOfManyLogins,
} from './growth.js'
import { queriesThroughAdapters, queriesWithSignedTokens } from './queries.js'
import {
  firstTokenForAuroraDsql,
  firstTokenForEntra,
  firstTokenBuiltIn,
  importOfCore,
  sizesOfBundles,
} from './start.js'
import { auroraDsqlToken, rdsToken, tokensForQueries } from './tokens.js'

export const GOALS: readonly Goal[] = [
  queriesThroughAdapters,
  queriesWithSignedTokens,
  connectionsAtOnce,
  connectionsOneByOne,
  tokensForQueries,
  auroraDsqlToken,
  rdsToken,
  importOfCore,
  firstTokenForAuroraDsql,
  firstTokenBuiltIn,
  firstTokenForEntra,
  sizesOfBundles,
  heapOverTokens,
  externalOverTokens,
  heapOverConnections,
  externalOverConnections,
  queriesThroughGateway,
  connectsThroughGateway,
  tokenChecks,
  tokensOfManyLogins,
  makingOfManyLogins,
  ownPartOfConnections,
  connectionsByNumber,
]
