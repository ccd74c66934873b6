/** How heavy the load is. */

/** How long things last, in seconds. The server ends sessions; a pool that knows that replaces its connections before. */
export const TOKEN_SECS = 3
export const SESSION_SECS = 5
export const LIFETIME_SECS = 4

/** The part of all COMMITs that meet a conflict. */
export const CONFLICT_PROBABILITY = 0.1

/** Each client has two pools: one whose connections retire in time, and one whose sessions the server ends. */
export const POOLS_PER_CLIENT = 2
export const POOL_SIZE = 3

/** More than there are connections, so that some wait. */
export const TRANSFER_TASKS = 4
export const QUERY_TASKS = 2

/** The longest pause of a task between two calls; all clients share one machine with the gateway and the database. */
export const PAUSE_MS = 60

/** A pool is closed and opened anew this often; in a short run once. */
export const POOL_LIFE_MS = 20_000

/** How often a connection has trouble besides, on average. */
export const TROUBLE_EVERY_MS = 6_000
