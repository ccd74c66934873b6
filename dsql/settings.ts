/**
 * The session settings of Aurora DSQL, as of September 2026: "Supported session parameters" in
 * https://docs.aws.amazon.com/aurora-dsql/latest/userguide/accessing.html. It refuses every other one with 0A000, `setting configuration
 * parameter "NAME" not supported`, also in the startup packet.
 */

/** In lower case. `role` is accepted in `SET LOCAL` inside of a transaction only. */
const ALLOWED_SETTINGS: ReadonlySet<string> = new Set([
  'application_name',
  'client_encoding',
  'datestyle',
  'extra_float_digits',
  'intervalstyle',
  'timezone',
  'search_path',
  'enable_bitmapscan',
  'enable_hashjoin',
  'enable_indexonlyscan',
  'enable_indexscan',
  'enable_material',
  'enable_mergejoin',
  'enable_nestloop',
  'enable_seqscan',
  'dsql.enable_batched_nestloop',
  'disable_sync_create_index',
])

/** Whether Aurora DSQL accepts a setting by `SET`, `RESET` and in the startup packet. Names are compared without case. */
export function isAllowedSetting(name: string): boolean {
  return ALLOWED_SETTINGS.has(name.toLowerCase())
}

/**
 * The settings that tools set when they connect, and that only limit, report or tune: without them the same statements give the same
 * results. Settings that decide what statements do, such as `default_transaction_read_only`, are none of them: a tool that asks for these
 * must learn that it does not get them.
 */
const WITHOUT_EFFECT_ON_RESULTS: ReadonlySet<string> = new Set([
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
  'transaction_timeout',
  'client_min_messages',
  'log_statement',
  'log_min_duration_statement',
  'log_min_messages',
  'log_min_error_statement',
  'log_duration',
  'work_mem',
  'maintenance_work_mem',
  'temp_buffers',
  'effective_cache_size',
  'synchronous_commit',
  'wal_level',
  'tcp_keepalives_idle',
  'tcp_keepalives_interval',
  'tcp_keepalives_count',
  'tcp_user_timeout',
  'synchronize_seqscans',
  'check_function_bodies',
  'default_tablespace',
  'default_table_access_method',
  'temp_tablespaces',
  'default_toast_compression',
  'jit',
  'geqo',
  'plan_cache_mode',
  'max_parallel_workers_per_gather',
  'from_collapse_limit',
  'join_collapse_limit',
  'random_page_cost',
  'constraint_exclusion',
])

/** The settings of which Aurora DSQL has one value, so that asking for this one has no effect. */
const ONLY_VALUES: Readonly<Record<string, RegExp>> = {
  standard_conforming_strings: /^(?:on|true|yes|1)$/i,
  row_security: /^(?:on|off|true|false|yes|no|1|0)$/i,
  bytea_output: /^hex$/i,
  xmloption: /^(?:content|document)$/i,
  escape_string_warning: /^(?:on|off|true|false|yes|no|1|0)$/i,
}

/**
 * Whether a setting that Aurora DSQL refuses can be left out: it has no effect on what statements do there.
 *
 * @param value `undefined` for RESET
 */
export function isDroppableSetting(name: string, value: string | undefined): boolean {
  const setting = name.toLowerCase()
  if (WITHOUT_EFFECT_ON_RESULTS.has(setting)) return true
  const only = Object.hasOwn(ONLY_VALUES, setting) ? ONLY_VALUES[setting] : undefined
  return only !== undefined && (value === undefined || only.test(value))
}

/** The settings that PostgreSQL does not have. */
const OWN: ReadonlySet<string> = new Set([
  'dsql.enable_batched_nestloop',
  'disable_sync_create_index',
])

/** Whether the setting is one of Aurora DSQL that PostgreSQL does not have. */
export function isOwnSetting(name: string): boolean {
  return OWN.has(name.toLowerCase())
}

/** The text of the error, with SQLSTATE 0A000. The name is that of the statement, in lower case. */
export function settingRefused(name: string): string {
  return `setting configuration parameter "${name}" not supported`
}

/** A setting in the startup parameter `options`. */
interface OptionSetting {
  readonly name: string
  /** The part of the text that sets it. */
  readonly text: string
}

/** Lists the settings in `options`: `-c name=value` and `--name=value`. PostgreSQL accepts dashes in place of underscores. */
export function settingsInOptions(options: string): OptionSetting[] {
  return [...options.matchAll(IN_OPTIONS)].map(({ 0: text, groups }) => ({
    name: groups!['name']!.toLowerCase().replaceAll('-', '_'),
    text,
  }))
}

const IN_OPTIONS = /(?<!\S)(?:-c\s*|--)(?<name>[\w.-]+)\s*=(?:\\.|\S)*/g

/** The version that a cluster reports. Record: env_server_version, env_server_version_num. */
export const SERVER_VERSION = '16.15'
export const SERVER_VERSION_NUM = '160015'
