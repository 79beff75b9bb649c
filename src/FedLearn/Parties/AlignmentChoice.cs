using FedLearn.Diagnostics;
using FedLearn.Protocol;

namespace FedLearn.Parties;

/// <summary>The alignment of a party.</summary>
internal static class AlignmentChoice
{
    /// <summary>What a party aligns with.</summary>
    /// <param name="method">Method of the job.</param>
    /// <param name="given">What the party was given; null: nothing, which is enough for hashed ids.</param>
    /// <param name="party">Name of the party.</param>
    /// <exception cref="ConfigurationException">FL2523: it was given nothing, or another method.</exception>
    public static IEntityAlignment Of(AlignmentMethod method, IEntityAlignment? given, string party)
    {
        IEntityAlignment alignment = given ?? HashedAlignment.Instance;
        return alignment.Method == method ? alignment : throw new ConfigurationException(AlignmentErrors.MethodMissing, $"party '{party}'",
            $"the job aligns by {Name(method)}, and the party was given {(given is null ? "nothing to do so" : Name(alignment.Method))}.",
            method == AlignmentMethod.Psi ? "Set the party's Alignment to a PsiAlignment of the package FedLearn.Alignment, or the job's to hashed, which is for trials."
            : "Leave the party's Alignment out, or set that of the job.");
    }

    /// <summary>Aligns, and holds what comes of it against the table: an alignment may be a user's own.</summary>
    /// <param name="alignment">The alignment.</param>
    /// <param name="party">Name of the party.</param>
    /// <param name="task">The party's side.</param>
    /// <param name="channels">Channels to the other parties.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="ConfigurationException">FL2526: it named no rows, one that the table lacks, or one twice.</exception>
    public static async Task<AlignedRows> AlignAsync(IEntityAlignment alignment, string party, AlignmentTask task, IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken)
    {
        AlignedRows aligned = await alignment.AlignAsync(task, channels, cancellationToken).ConfigureAwait(false);
        if (aligned is not { Rows: { } rows, Leaks: not null, Warnings: not null })
            throw Unusable("its Rows, Leaks or Warnings are null.");
        bool[] named = new bool[task.Ids.Count];
        foreach (int row in rows)
            if (row < 0 || row >= named.Length)
                throw Unusable("it named a row that the party's table does not have.");
            else if (named[row])
                throw Unusable("it named a row twice.");
            else
                named[row] = true;
        return aligned;

        ConfigurationException Unusable(string cause) => new(AlignmentErrors.RowsUnusable, $"party '{party}', {alignment.GetType().Name}", cause, "Name rows by their places in AlignmentTask.Ids, counted from 0, each once.");
    }

    /// <summary>The method as run files and reports write it.</summary>
    public static string Name(AlignmentMethod method) => method == AlignmentMethod.Psi ? "psi" : "hashed";
}
