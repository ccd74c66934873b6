/** What `loginFromUrl` and `loginFromEnv` know of a provider. */
import type { Login } from '../login.js'
import type { Environment } from '../options/common-options.js'

export interface Provider {
  /** Tells whether a host name, in lower case and without a final dot, is one of this provider's. */
  isHost(host: string): boolean
  /** How its host names look, for the hint of an error: `Aurora DSQL: CLUSTER.dsql.REGION.on.aws`. */
  readonly hostForm: string
  /** Makes a login; what was given is checked here. */
  create(options: object, env: Environment): Login
}
