/** Valid options of an RDS login, for tests to change one of them. */
import type { RdsOptions } from '../../../core/index.js'
import { CREDENTIALS } from './dsql-options.js'

export const RDS_REGION = 'eu-central-1'
export const RDS_HOST: string = `shop.c1a2b3c4d5e6.${RDS_REGION}.rds.amazonaws.com`

export const RDS_OPTIONS: Readonly<RdsOptions> = {
  host: RDS_HOST,
  user: 'app',
  credentials: CREDENTIALS,
}
