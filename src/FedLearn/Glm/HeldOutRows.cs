using FedLearn.Diagnostics;

namespace FedLearn.Glm;

/// <summary>The training rows that early stopping holds out: the same at every party, by a rule that looks at ids alone.</summary>
internal static class HeldOutRows
{
    /// <summary>Divides training rows.</summary>
    /// <param name="job">The job.</param>
    /// <param name="ids">Normalised ids of the table.</param>
    /// <param name="rows">Training rows of the table.</param>
    /// <returns>Rows to train on, and rows held out: those for which the first 8 bytes of SHA-256("held out", seed, id), as a number, are below holdOut 2^64.</returns>
    /// <exception cref="BadInputException">FL3108: one of the two is empty.</exception>
    public static (int[] Train, int[] HeldOut) Of(GlmJob job, IReadOnlyList<string> ids, int[] rows)
    {
        if (job.Training.EarlyStopping is not { HoldsOut: true } rule)
            return (rows, []);
        var draw = new RowDraw("held out"u8, job.Training.Seed);
        bool IsHeldOut(int row) => draw.Of(ids[row]) < rule.HoldOut * 18446744073709551616.0;
        int[] heldOut = [.. rows.Where(IsHeldOut)], train = [.. rows.Where(row => !IsHeldOut(row))];
        return heldOut.Length > 0 && train.Length > 0 ? (train, heldOut) : throw new BadInputException(GlmErrors.NothingHeldOut, "training.earlyStopping.holdOut",
            "of so few training rows none would be held out, or none be left to train on.", "Use more rows, another share, or watch the objective.");
    }
}
