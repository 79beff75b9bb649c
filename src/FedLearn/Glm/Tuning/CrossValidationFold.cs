namespace FedLearn.Glm;

/// <summary>One of the runs of a k-fold cross-validation. Every training row of the job is a test row of exactly one fold; the job's own test rows stay unused.</summary>
/// <remarks>Row i is tested on in the fold whose index is the number from the first 8 bytes (big-endian) of SHA-256("fold", seed in 8 bytes little-endian,
/// id in UTF-8) modulo the number of folds: the same at every party, whatever the order of its rows. Folds are equal in size on average only.</remarks>
/// <param name="Count">Number of folds k, 2 to <see cref="MostFolds"/>.</param>
/// <param name="Index">Which of them, 0 to k - 1.</param>
public sealed record CrossValidationFold(int Count, int Index)
{
    /// <summary>Largest number of folds.</summary>
    public const int MostFolds = 1000;
}
