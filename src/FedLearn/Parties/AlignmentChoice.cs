using FedLearn.Diagnostics;

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

    /// <summary>The method as run files and reports write it.</summary>
    public static string Name(AlignmentMethod method) => method == AlignmentMethod.Psi ? "psi" : "hashed";
}
