using FedLearn.Diagnostics;

namespace FedLearn.Glm;

/// <summary>The training rows that one run of a cross-validation tests on: the same at every party, by a rule that looks at ids alone.</summary>
internal static class FoldRows
{
    /// <summary>Divides the training rows of a run.</summary>
    /// <param name="job">The job.</param>
    /// <param name="ids">Normalised ids of the table.</param>
    /// <param name="train">Training rows of the table by the job's own split.</param>
    /// <param name="test">Test rows by the job's own split, which no fold uses.</param>
    /// <returns>Without a fold the rows as they are. With one: of the training rows those whose <see cref="RowDraw"/> "fold" modulo the number of folds is
    /// the fold's index are tested on, the others trained on.</returns>
    /// <exception cref="BadInputException">FL3108: one of the two is empty.</exception>
    public static (int[] Train, int[] Test) Of(GlmJob job, IReadOnlyList<string> ids, int[] train, int[] test)
    {
        if (job.Fold is not { } fold)
            return (train, test);
        var draw = new RowDraw("fold"u8, job.Training.Seed);
        ILookup<bool, int> divided = train.ToLookup(row => draw.Of(ids[row]) % (ulong)fold.Count == (ulong)fold.Index);
        return divided.Count == 2 ? ([.. divided[false]], [.. divided[true]]) : throw new BadInputException(GlmErrors.NothingHeldOut,
            $"fold {fold.Index + 1} of {fold.Count}", "of so few training rows none would be tested on, or none be left to train on.", "Use more rows, or fewer folds.");
    }
}
