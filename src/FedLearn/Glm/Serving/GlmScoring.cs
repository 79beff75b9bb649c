using FedLearn.Coordination;

namespace FedLearn.Glm;

/// <summary>What both sides of online prediction share.</summary>
public static class GlmScoring
{
    /// <summary>Most ids of one request, and of one message between parties.</summary>
    public const int MostIds = 4096;

    internal const string Purpose = "serve", AskedIds = "prediction: asked ids", Presence = "prediction: ids present", PartyScores = "prediction scores";

    // How long the end of a session waits for the other side's last word.
    internal static readonly TimeSpan LastWordsTime = TimeSpan.FromSeconds(2);

    /// <summary>What online prediction discloses, for whoever has to agree to it.</summary>
    public static IReadOnlyList<string> Leaks { get; } =
    [
        "each passive party receives SHA-256(seed, id) of every asked id, can test guesses against it, and so learns which of its rows are asked for, and when",
        "the active party learns which of the asked ids each passive party holds, and that party's score of each",
        "no privacy claim of the training covers these scores; with evaluation charged a claim covers what they tell of rows other than the one scored",
    ];

    /// <summary>What the parties of a session must agree on: the digest covers the whole job, the session has the active party and one passive party.</summary>
    /// <param name="job">The job that trained the model.</param>
    /// <param name="passive">Name of the passive party.</param>
    public static SessionTerms TermsOf(GlmJob job, string passive)
    {
        SessionTerms terms = GlmJobTerms.Of(job, Purpose);
        return terms with { Parties = [.. terms.Parties.Where(p => p.Role == PartyRole.Active || p.Name == passive)] };
    }

    /// <summary>The round after a round. Rounds number the requests of a session, so that a late answer is not taken for another's.</summary>
    internal static int Next(int round) => round == int.MaxValue ? 0 : round + 1;
}
