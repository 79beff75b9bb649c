using System.Globalization;
using FedLearn.Dssm;

namespace FedLearn.Tests.Dssm.Evaluation;

/// <summary>Small random tables of events for tests.</summary>
internal static class RandomEvents
{
    internal static InteractionTable Of(Random random, int users, int items, int mostOfUser)
    {
        EventRole[] roles = Enum.GetValues<EventRole>();
        var events = new List<Interaction>();
        for (int user = 0; user < users; user++)
        {
            bool cold = random.Next(4) == 0;
            int[] own = [.. Enumerable.Range(0, items).OrderBy(_ => random.Next()).Take(random.Next(Math.Min(items, mostOfUser) + 1))];
            for (int e = 0; e < own.Length; e++)
            {
                EventRole role = cold ? (random.Next(2) == 0 ? EventRole.ColdUser : EventRole.Seen) : roles[random.Next(roles.Length)];
                events.Add(new Interaction(user, own[e], new Moment(e / 2, e), role));
            }
        }

        return new InteractionTable([.. Enumerable.Range(0, users).Select(u => u % 3 == 0 ? "user " + u : Text(u))], events);
    }

    internal static ItemTable Items(int count) => new([.. Enumerable.Range(0, count).Select(i => i % 5 == 4 ? "item " + i : Text(i + 1))],
        new TowerRows(new TowerInputs(1, []), count, new double[count], []));

    /// <summary>Scores from few values, so that many tie, by event and item.</summary>
    internal static double[][] Scores(Random random, int events, int items) =>
        [.. Enumerable.Range(0, events).Select(_ => Enumerable.Range(0, items).Select(_ => random.Next(20) == 0 ? double.NaN : random.Next(-8, 9) / 4.0).ToArray())];

    internal static DssmScores Rows(double[][] scores) => (events, rows) =>
    {
        for (int i = 0; i < events.Length; i++)
            scores[events[i]].CopyTo(rows.Slice(i * scores[0].Length, scores[0].Length));
    };

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
