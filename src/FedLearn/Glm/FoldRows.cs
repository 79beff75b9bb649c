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
    /// <exception cref="BadInputException">FL3110: a fold is empty, this one or another.</exception>
    public static (int[] Train, int[] Test) Of(GlmJob job, IReadOnlyList<string> ids, int[] train, int[] test)
    {
        if (job.Fold is not { } fold)
            return (train, test);
        int[] folds = FoldsOf(job.Training.Seed, fold.Count, ids, train);
        return ([.. train.Where((_, i) => folds[i] != fold.Index)], [.. train.Where((_, i) => folds[i] == fold.Index)]);
    }

    /// <summary>The rows that each run of a cross-validation trains on.</summary>
    /// <param name="job">The job, with a fold.</param>
    /// <param name="ids">Normalised ids of the table.</param>
    /// <param name="train">Training rows of the table by the job's own split.</param>
    /// <exception cref="BadInputException">FL3110: a fold is empty.</exception>
    public static IEnumerable<int[]> TrainOfAll(GlmJob job, IReadOnlyList<string> ids, int[] train)
    {
        int[] folds = FoldsOf(job.Training.Seed, job.Fold!.Count, ids, train);
        return Enumerable.Range(0, job.Fold.Count).Select(index => (int[])[.. train.Where((_, i) => folds[i] != index)]);
    }

    /// <summary>The fold of each row. Every fold has rows: a run of a later fold without any would be found out when the earlier ones are paid for.</summary>
    private static int[] FoldsOf(long seed, int count, IReadOnlyList<string> ids, int[] train)
    {
        var draw = new RowDraw("fold"u8, seed);
        int[] folds = [.. train.Select(row => (int)(draw.Of(ids[row]) % (ulong)count))];
        int empty = Enumerable.Range(0, count).Except(folds).FirstOrDefault(-1);
        return empty < 0 ? folds : throw new BadInputException(GlmErrors.EmptyFold, $"fold {empty + 1} of {count}", "none of so few training rows would be tested on.", "Use more rows, or fewer folds.");
    }
}
