/**
 * `T`, which TypeScript then takes from the caller's type argument alone. It would otherwise take it from the object that is
 * given, and with it every mistyped option, or from where the result goes, and so promise what nobody gave.
 *
 * TypeScript has `NoInfer` for this since 5.4; users of older ones read these types, too.
 */
export type Explicit<T> = [T][T extends unknown ? 0 : never]
