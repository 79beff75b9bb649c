namespace FedLearn.Data;

/// <summary>One column of a feature map: (x - center) / width, then perhaps clipped to [-1, 1].</summary>
/// <param name="Name">Name of the encoded column.</param>
/// <param name="Center">What is subtracted; finite.</param>
/// <param name="Width">What it is divided by; finite, above 0.</param>
/// <param name="Clip">Whether the quotient is clipped to [-1, 1].</param>
public sealed record ScaledColumn(string Name, double Center, double Width, bool Clip);

/// <summary>What a feature map does, for those who write it in another language: the columns, then the length of the row, then the constant, then R.</summary>
/// <param name="Columns">The columns in the order of the features.</param>
/// <param name="Rows">How the length of a row is bounded.</param>
/// <param name="ClipLength"><see cref="RowBound.Clip"/>: the length L that longer rows are shortened to, before every row is divided by it.</param>
/// <param name="Constant">Whether the constant 1 is appended: before <see cref="RowBound.Normalize"/>, or after <see cref="RowBound.Clip"/>, which then divides
/// all by the square root of 2.</param>
/// <param name="RowNorm">What bounded rows are multiplied by, R.</param>
public sealed record FeatureMapDescription(IReadOnlyList<ScaledColumn> Columns, RowBound Rows, double ClipLength, bool Constant, double RowNorm);
