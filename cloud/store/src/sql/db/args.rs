//! Parameters of statements.

use protocols_model::Value;

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arg<'a> {
    Null,
    Int(i64),
    Real(f64),
    Text(&'a str),
    Blob(&'a [u8]),
    /// For a column that holds values of its series' type; drivers store it as they can. Numbers go as
    /// the 64 bits they are: a NaN and a large u64 must come back as they went.
    Value(&'a Value),
}

/// What can be a parameter.
pub(crate) trait ToArg {
    fn to_arg(&self) -> Arg<'_>;
}

impl ToArg for Arg<'_> {
    fn to_arg(&self) -> Arg<'_> {
        *self
    }
}

impl<T: ToArg + ?Sized> ToArg for &T {
    fn to_arg(&self) -> Arg<'_> {
        (**self).to_arg()
    }
}

impl<T: ToArg> ToArg for Option<T> {
    fn to_arg(&self) -> Arg<'_> {
        self.as_ref().map_or(Arg::Null, ToArg::to_arg)
    }
}

macro_rules! whole {
    ($($type:ty),+) => {
        $(impl ToArg for $type {
            fn to_arg(&self) -> Arg<'_> {
                Arg::Int(i64::from(*self))
            }
        })+
    };
}

whole!(i64, u32, u8, bool);

impl ToArg for f64 {
    fn to_arg(&self) -> Arg<'_> {
        Arg::Real(*self)
    }
}

impl ToArg for str {
    fn to_arg(&self) -> Arg<'_> {
        Arg::Text(self)
    }
}

impl ToArg for String {
    fn to_arg(&self) -> Arg<'_> {
        Arg::Text(self)
    }
}

impl ToArg for [u8] {
    fn to_arg(&self) -> Arg<'_> {
        Arg::Blob(self)
    }
}

impl ToArg for Vec<u8> {
    fn to_arg(&self) -> Arg<'_> {
        Arg::Blob(self)
    }
}

impl<const N: usize> ToArg for [u8; N] {
    fn to_arg(&self) -> Arg<'_> {
        Arg::Blob(self)
    }
}

impl ToArg for Value {
    fn to_arg(&self) -> Arg<'_> {
        Arg::Value(self)
    }
}

/// A list of parameters.
pub(crate) trait Params {
    fn with<R>(&self, run: impl FnOnce(&[Arg<'_>]) -> R) -> R;
}

impl Params for &[&dyn ToArg] {
    fn with<R>(&self, run: impl FnOnce(&[Arg<'_>]) -> R) -> R {
        let args: Vec<Arg<'_>> = self.iter().map(|value| value.to_arg()).collect();
        run(&args)
    }
}

impl<T: ToArg, const N: usize> Params for [T; N] {
    fn with<R>(&self, run: impl FnOnce(&[Arg<'_>]) -> R) -> R {
        let args: [Arg<'_>; N] =
            std::array::from_fn(|at| self.get(at).map_or(Arg::Null, ToArg::to_arg));
        run(&args)
    }
}

/// Parameters of different types.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$(&$value as &dyn $crate::sql::db::ToArg),*] as &[&dyn $crate::sql::db::ToArg]
    };
}

pub(crate) use params;
