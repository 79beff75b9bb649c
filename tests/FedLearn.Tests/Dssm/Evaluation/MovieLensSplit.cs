using System.Globalization;
using FedLearn.Dssm;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Dssm.Evaluation;

/// <summary>Events of MovieLens 100K by rule; tests that need them skip where the data is absent. Items have no content here.</summary>
internal sealed class MovieLensSplit
{
    private const int Users = 943, ItemCount = 1682;

    private readonly List<(int User, int Item, int Rating, long Time)> _ratings;

    private MovieLensSplit(string path) => _ratings = [.. File.ReadLines(path).Select(line => line.Split('\t'))
        .Select(cells => (User: Number(cells[0]) - 1, Item: Number(cells[1]) - 1, Rating: Number(cells[2]), Time: long.Parse(cells[3], CultureInfo.InvariantCulture)))
        .OrderBy(r => r.User).ThenBy(r => r.Time).ThenBy(r => r.Item)];

    internal static ItemTable Items { get; } = new(Ids(ItemCount), new TowerRows(new TowerInputs(1, []), ItemCount, new double[ItemCount], []));

    internal static MovieLensSplit Load() => new(SharedData.Require("ml-100k", "u.data"));

    /// <summary>Last positive of a user with three: test; the one before: validation.</summary>
    internal InteractionTable Warm() => Table((user, ratings, roles) =>
    {
        int[] positives = Positives(ratings);
        if (positives.Length < 3)
            return;
        (roles[positives[^1]], roles[positives[^2]]) = (EventRole.Test, EventRole.Validation);
    });

    /// <summary>Users whose id leaves 2 when divided by 5 are never trained on; the last ten of their positives after the fifth rating are evaluated.</summary>
    internal InteractionTable ColdUsers() => Table((user, ratings, roles) =>
    {
        if ((user + 1) % 5 == 2)
        {
            Array.Fill(roles, EventRole.Seen);
            foreach (int e in Positives(ratings).Where(e => e >= 5).TakeLast(10))
                roles[e] = EventRole.ColdUser;
        }
        else if (Positives(ratings) is { Length: >= 3 } positives)
        {
            (roles[positives[^1]], roles[positives[^2]]) = (EventRole.Test, EventRole.Validation);
        }
    });

    /// <summary>Items whose id leaves 3 when divided by 10 are never trained on; all their positives are evaluated.</summary>
    internal InteractionTable ColdItems() => Table((_, ratings, roles) =>
    {
        for (int e = 0; e < roles.Length; e++)
            if (IsColdItem(ratings[e].Item))
                roles[e] = ratings[e].Rating >= 4 ? EventRole.ColdItem : EventRole.Seen;
    });

    internal static bool IsColdItem(int item) => (item + 1) % 10 == 3;

    internal bool IsPositive(int index) => _ratings[index].Rating >= 4;

    private InteractionTable Table(Action<int, (int User, int Item, int Rating, long Time)[], EventRole[]> choose)
    {
        var events = new List<Interaction>();
        foreach (var own in _ratings.GroupBy(r => r.User))
        {
            var ratings = own.ToArray();
            EventRole[] roles = [.. ratings.Select(r => r.Rating >= 4 ? EventRole.Train : EventRole.Seen)];
            choose(own.Key, ratings, roles);
            events.AddRange(ratings.Select((r, e) => new Interaction(r.User, r.Item, new Moment(r.Time, e), roles[e])));
        }

        return new InteractionTable(Ids(Users), events);
    }

    private static int[] Positives((int User, int Item, int Rating, long Time)[] ratings) => [.. Enumerable.Range(0, ratings.Length).Where(e => ratings[e].Rating >= 4)];

    private static string[] Ids(int count) => [.. Enumerable.Range(1, count).Select(id => id.ToString(CultureInfo.InvariantCulture))];

    private static int Number(string cell) => int.Parse(cell, CultureInfo.InvariantCulture);
}
